from dialog.agent.talk import Talk
from dialog.llm.base import Message, Role, ToolCall

BOOK = ToolCall("c1", "book", '{"people": 4}')


def told(talk: Talk) -> list[str]:
    """Messages without the instructions, one a line."""
    return [
        f"{m.role[0]}: {m.content}{' +' + ','.join(c.name for c in m.tool_calls) if m.tool_calls else ''}"
        for m in talk.messages()[1:]
    ]


def answered(talk: Talk, *sentences: str) -> None:
    talk.begin()
    for sentence in sentences:
        talk.said(sentence)


def test_only_what_was_heard_is_remembered() -> None:
    talk = Talk("Be brief.", 1000)
    talk.user("How much is it?")
    answered(talk, "It is ten euros. ", "Shall I book it for you?")
    assert told(talk)[-1] == "a: It is ten euros. Shall I book it for you?"
    talk.heard("It is ten euros. Shall I", complete=False)
    assert told(talk) == ["u: How much is it?", "a: It is ten euros. Shall I"]
    assert talk.messages()[0] == Message(Role.SYSTEM, "Be brief.")


def test_an_answer_nobody_heard_is_forgotten_but_its_tools_are_not() -> None:
    talk = Talk("", 1000)
    talk.user("A table")
    answered(talk, "Let me see. ")
    talk.called([BOOK])
    talk.returned(BOOK, "booked")
    answered(talk, "It is booked.")
    talk.user("A table for four", continues=True)
    assert told(talk) == ["u: A table for four", "a:  +book", "t: booked"]


def test_a_cut_falls_into_the_right_message_around_tools_and_asides() -> None:
    talk = Talk("", 1000)
    talk.user("A table for four")
    answered(talk, "Let me see. ")
    talk.called([BOOK])
    talk.aside("One moment, please.")
    talk.returned(BOOK, "booked")
    answered(talk, "It is booked. ", "See you tonight.")
    talk.heard("Let me see. One moment, please. It is booked. See", complete=False)
    assert told(talk)[1:] == ["a: Let me see. +book", "t: booked", "a: It is booked. See"]


def test_all_heard_is_kept_word_for_word_without_asides() -> None:
    talk = Talk("", 1000)
    talk.user("Hi")
    talk.aside("One moment, please.")
    answered(talk, "Hello! ", "How are you?")
    talk.heard("One moment, please. Hello! How are you?", complete=True)
    assert told(talk) == ["u: Hi", "a: Hello! How are you?"]


def test_old_turns_are_forgotten_whole_and_rarely() -> None:
    talk, prefixes = Talk("", 100), set()
    for turn in range(60):
        talk.user(f"question {turn:02}")
        answered(talk, "x" * 30)
        talk.called([BOOK])
        talk.returned(BOOK, "ok")
        answered(talk, "fine")
        talk.heard("x" * 30 + "fine", complete=True)
        messages = talk.messages()
        assert messages[1].role is Role.USER, "never a tool's answer without its call"
        assert sum(len(m.content) for m in messages) < 100 * 4 + 100
        prefixes.add(messages[1].content)
    assert told(talk)[-4] == "u: question 59"
    assert len(prefixes) < 25, "each cut costs the model all that it has read"


def test_one_turn_that_is_too_long_stays() -> None:
    talk = Talk("", 10)
    talk.user("a" * 500)
    answered(talk, "b" * 500)
    talk.heard("b" * 500, complete=True)
    assert [len(line) for line in told(talk)] == [503, 503]


def test_markup_is_not_remembered_and_costs_no_word() -> None:
    talk = Talk("", 1000)
    talk.user("Hi")
    answered(talk, "It is <emphasis>ten</emphasis> euros & more. ", "Shall I <break time='1s'/>book it?")
    talk.heard("It is ten euros & more. Shall I", complete=False)
    assert told(talk) == ["u: Hi", "a: It is ten euros & more. Shall I"]
