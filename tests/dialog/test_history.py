"""The history is what was heard."""

from dialog.history import History, Speaker, Utterance

CALLER, BOT = Speaker.CALLER, Speaker.BOT


def test_pieces_of_an_answer_are_one_and_a_cut_one_ends() -> None:
    history = History()
    history.bot_heard("Hello.", complete=True)
    history.bot_heard("How can I", complete=False)
    history.caller_said("book")
    history.bot_heard("", complete=False)
    history.bot_heard("Which day?", complete=True)
    assert history.utterances == (
        Utterance(BOT, "Hello. How can I", complete=False),
        Utterance(CALLER, "book"),
        Utterance(BOT, "Which day?"),
    )


def test_after_a_cut_the_next_words_are_an_utterance_of_their_own() -> None:
    history = History((Utterance(BOT, "Hel", complete=False),))
    history.bot_heard("Hello.", complete=True)
    assert [u.text for u in history.utterances] == ["Hel", "Hello."]


def test_a_turn_that_goes_on_replaces_its_beginning() -> None:
    history = History()
    history.caller_said("next", continues=True)
    history.caller_said("next tuesday", continues=True)
    history.caller_said("", understood=False)
    assert history.utterances == (Utterance(CALLER, "next tuesday"), Utterance(CALLER, "", complete=False))
