"""What callers of a clinic want, in their own words: sentences to learn from, and others to try."""

TRAIN = {
    "book": """i want to book an appointment
        i would like to make an appointment with the doctor
        can i see the dentist next week
        i need an appointment for my daughter
        could you fit me in today
        is there a free slot on thursday
        book me in for monday morning please
        i'd like to come in for a check up
        my tooth hurts and i need to see somebody
        when is the next available appointment
        i want to arrange a visit
        do you have anything free tomorrow afternoon
        please make an appointment for friday
        i am a new patient and want to see a doctor
        schedule a check up for me please""",
    "move": """i want to move my appointment
        can i change the time of my appointment
        i need to reschedule my visit
        could we make it another day
        i'd like to come later than planned
        move my appointment to wednesday please
        i can't come on monday but tuesday would be fine
        is it possible to change the date
        i am running late can i come at four
        please put me down for a different time
        can you push my appointment back a week
        i would like an earlier time
        change my appointment to the morning
        something came up can we find another date
        i have to postpone my visit""",
    "cancel": """cancel my appointment
        i want to cancel my visit on tuesday
        i can't make it tomorrow
        please take me off the list
        i don't need the appointment any more
        i have to cancel
        could you cancel the appointment for my son
        i won't be able to come
        delete my appointment please
        i would like to call off the visit
        i feel better so please cancel it
        forget about my appointment on friday
        i am not coming today
        drop the appointment please
        can i cancel it over the phone""",
    "hours": """what are your opening hours
        when are you open
        what time do you close today
        are you open on saturday
        when does the clinic open in the morning
        how late are you there on friday
        until when can i come in
        do you work on holidays
        is anybody there on sunday
        tell me your opening times please
        are you open during lunch
        what hours is the pharmacy open
        are you still open now
        at what time does the office open
        when do you close for christmas""",
    "prescription": """i need a new prescription
        can i get a refill of my medicine
        my tablets have run out
        please renew my prescription
        i want to order my medication again
        could the doctor write me a prescription
        i have no pills left
        i need more of my blood pressure medicine
        is my prescription ready
        can i pick up my medication today
        send the prescription to the pharmacy please
        i would like a repeat prescription
        the pharmacy has not received my prescription
        i lost my prescription
        how do i get more insulin""",
    "bill": """i have a question about my bill
        there is a mistake on my invoice
        why was i charged twice
        how much do i have to pay
        my insurance should have paid for this
        i got a bill that is wrong
        can i pay by card
        i don't understand this charge
        the invoice is too high
        i have already paid this bill
        where do i send the payment
        i want to talk about a payment
        did my insurance cover the visit
        please send me a copy of the invoice
        you charged me too much""",
    "person": """i want to speak to a person
        can i talk to somebody please
        connect me with the front desk
        let me speak to the nurse
        put me through to the office
        i would like to talk to a human
        operator please
        is there anybody i can talk to
        transfer me to the receptionist
        i'd rather speak to a real person
        give me somebody who can help
        could i speak to the manager
        i don't want to talk to a machine
        please transfer my call
        get me a human being""",
}

UNSEEN = {
    "book": """i need to see the doctor this week
        could i make an appointment for monday
        do you have a free slot on friday morning
        i'd like to arrange a check up for my son
        my tooth hurts can i come in today""",
    "move": """can we move my visit to another day
        i need to change my appointment to thursday
        i would like to reschedule for next week
        is it possible to come at a different time
        can you change the date of my visit""",
    "cancel": """i have to cancel my appointment tomorrow
        please cancel the visit on friday
        i am not able to come on monday cancel it
        i don't need to come any more
        take my appointment off the list""",
    "hours": """are you open tomorrow morning
        what time does the clinic close
        when do you open on monday
        how late are you open today
        is the office open on sunday""",
    "prescription": """i need a refill of my tablets
        can the doctor renew my medication
        my medicine has run out
        is my prescription at the pharmacy
        i want to get more pills""",
    "bill": """there is a wrong charge on my bill
        i was charged too much
        why is my invoice so high
        can i talk about my bill
        did the insurance pay my invoice""",
    "person": """can i speak to a human please
        put me through to the nurse
        i want to talk to the receptionist
        connect me to somebody in the office
        let me talk to a real person""",
}


def lines(sentences: str) -> tuple[str, ...]:
    """One sentence a line."""
    return tuple(line.strip() for line in sentences.splitlines())


EXAMPLES = {intent: lines(text) for intent, text in TRAIN.items()}
SENTENCES = [(intent, sentence) for intent, text in UNSEEN.items() for sentence in lines(text)]
