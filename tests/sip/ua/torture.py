"""Messages that strain a parser: one for each case that RFC 4475 describes, written anew from its words.

`CASES`: the RFC's name of the case -> the message, and what our user agent has to say to it: the status of
its final answer, 0 for none. Where the RFC leaves it open (a case may be refused, or be repaired), a comment
says why.
"""

from dataclasses import dataclass

MEDIA = b"v=0\r\no=- 1 1 IN IP4 192.0.2.5\r\ns=-\r\nc=IN IP4 192.0.2.5\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"
VIA = "Via: SIP/2.0/UDP 192.0.2.5:5070;branch=z9hG4bK"


@dataclass(frozen=True)
class Case:
    """One message and the status of its answer."""

    data: bytes
    status: int


def head(method: str, name: str, *, cseq: str = "", leave: str = "") -> list[str]:
    """The lines that every request has, without those that begin with a letter in `leave`."""
    lines = [
        VIA + name,
        "Max-Forwards: 70",
        "From: <sip:caller@192.0.2.5>;tag=torture",
        "To: <sip:bot@127.0.0.1>",
        f"Call-ID: {name}@192.0.2.5",
        f"CSeq: 7 {cseq or method}",
        "Contact: <sip:caller@192.0.2.5:5070>",
    ]
    return [line for line in lines if line[:2] not in leave.split()]


def message(
    name: str,
    *more: str,
    method: str = "INVITE",
    start: str = "",
    body: bytes = MEDIA,
    length: str | None = "",
    cseq: str = "",
    leave: str = "",
) -> bytes:
    """A request, sound but for what the arguments say."""
    lines = [
        start or f"{method} sip:bot@127.0.0.1 SIP/2.0",
        *head(method, name, cseq=cseq, leave=leave),
        *more,
    ]
    if body is MEDIA and not any(line.lower().startswith("content-type") for line in more):
        lines.append("Content-Type: application/sdp")
    if length is not None:
        lines.append(f"Content-Length: {length or len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape") + body


def options(name: str, *more: str, **how: str) -> bytes:
    return message(name, *more, method=how.pop("method", "OPTIONS"), body=b"", **how)  # type: ignore[arg-type]


def register(name: str, *more: str, **how: str) -> bytes:
    return options(name, *more, method="REGISTER", **how)


def response(name: str, status_line: str, **how: str) -> bytes:
    """An answer to nothing that we have asked."""
    lines = [status_line, *head("INVITE", name, **how), "Content-Length: 0", "", ""]
    return "\r\n".join(lines).encode()


TORTUOUS = b"\r\n".join([
    b"INVITE sip:bot@127.0.0.1;unknownparam SIP/2.0",
    b"TO :",
    b" sip:bot@127.0.0.1 ;   tag    = ",
    b"From   : \"J Rosenberg \\\\\\\"\"       <sip:j@192.0.2.5>",
    b"  ;",
    b"  tag = 98asjd8",
    b"MaX-fOrWaRdS: 0068",
    b"call-ID: tortuous@192.0.2.5",
    b"Content-Length   : " + str(len(MEDIA)).encode(),
    b"cseq: 0009",
    b"  INVITE",
    b"v:  SIP  / 2.0  / UDP",
    b"    192.0.2.5:5070; branch=  z9hG4bKtortuous",
    b"s :",
    b"NewFangledHeader:   newfangled value",
    b" continued newfangled value",
    b"UnknownHeaderWithUnusualValue: ;;,,;;,;",
    b"Content-Type: application/sdp",
    b"m:\"Quoted string \\\"\\\"\" <sip:j@192.0.2.5:5070>",
    b"  ; newparam =",
    b"      newvalue ;",
    b"  secondparam ; q = 0.33",
    b"", MEDIA,
]).replace(b";   tag    = \r\n", b"\r\n")  # fmt: skip
LONG = "very" + "verylong" * 250
ODD_METHOD = "!interesting-Method0123456789_*+`.%indeed'~"
ODD_USER = "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)"

CASES: dict[str, Case] = {
    # 3.1.1, valid
    "wsinv": Case(TORTUOUS, 200),
    "intmeth": Case(
        options("intmeth", f"Route: <sip:{ODD_USER.partition(':')[0]}@127.0.0.1;lr>", method=ODD_METHOD), 501
    ),
    "esc01": Case(message("esc01", start="INVITE sip:sips%3Auser%40example.com@127.0.0.1 SIP/2.0"), 200),
    "escnull": Case(options("escnull", "Route: <sip:null-%00-null@127.0.0.1;lr>"), 200),
    "esc02": Case(options("esc02", method="RE%47IST%45R"), 501),  # no REGISTER: a method is no URI
    "lwsdisp": Case(options("lwsdisp", "From: caller<sip:caller@192.0.2.5>;tag=x", leave="Fr"), 200),
    "longreq": Case(
        message("longreq", f"X-{LONG}: {LONG}", f'To: "{LONG}" <sip:bot@127.0.0.1>', leave="To"), 200
    ),
    "dblreq": Case(options("dblreq") + options("dblreq2"), 200),  # what follows in a datagram is discarded
    "semiuri": Case(options("semiuri", start="OPTIONS sip:user;par=u%40example.net@127.0.0.1 SIP/2.0"), 200),
    "transports": Case(
        options(
            "transports",
            "Via: SIP/2.0/SCTP a.example;branch=z9hG4bKa, SIP/2.0/X b.example;branch=z9hG4bKb",
        ),
        200,
    ),
    # A body of several parts holds more than a description: 415 says which type we take.
    "mpart01": Case(
        message("mpart01", "Content-Type: multipart/mixed;boundary=7a", body=b"--7a\x82\0\r\n"),
        415,
    ),
    "unreason": Case(response("unreason", "SIP/2.0 200 = 2**3 * 5**2 \u043d\u043e \u0441\u0442\u043e"), 0),
    "noreason": Case(response("noreason", "SIP/2.0 100 "), 0),
    # 3.1.2, invalid
    "badinv01": Case(
        message(
            "badinv01",
            'Contact: "Joe" <sip:joe@192.0.2.5>;;;;',
            "Via: SIP/2.0/UDP 192.0.2.15;;,;,,",
            leave="Co",
        ),
        200,  # the meaning is clear; nothing was guessed
    ),
    "clerr": Case(message("clerr", length="9999"), 0),
    "ncl": Case(message("ncl", length="-999"), 0),
    "scalar02": Case(
        options(
            "scalar02", "CSeq: 36893488147419103232 OPTIONS", "Expires: 10000000000000000000", leave="CS"
        ),
        400,
    ),
    "scalarlg": Case(
        response("scalarlg", "SIP/2.0 503 Service Unavailable", cseq="9292394834772304023 X"), 0
    ),
    "quotbal": Case(options("quotbal", 'To: "Mr. J. User <sip:j.user@127.0.0.1>', leave="To"), 400),
    "ltgtruri": Case(options("ltgtruri", start="OPTIONS <sip:user@127.0.0.1> SIP/2.0"), 416),
    "lwsruri": Case(options("lwsruri", start="OPTIONS sip:user@127.0.0.1; lr SIP/2.0"), 0),
    "lwsstart": Case(options("lwsstart", start="OPTIONS  sip:user@127.0.0.1  SIP/2.0"), 200),
    "trws": Case(options("trws", start="OPTIONS sip:user@127.0.0.1 SIP/2.0  "), 200),
    "escruri": Case(options("escruri", start="OPTIONS sip:user@127.0.0.1?Route=%3Csip:a%3E SIP/2.0"), 200),
    "baddate": Case(options("baddate", "Date: Fri, 01 Jan 2010 16:00:00 EST"), 200),  # we have no use for it
    "regbadct": Case(register("regbadct", "Contact: sip:user@192.0.2.5?Route=%3Csip:a%3E", leave="Co"), 405),
    "badaspec": Case(options("badaspec", 'To: "Watson, Thomas" < sip:t.watson@127.0.0.1 >', leave="To"), 200),
    "baddn": Case(options("baddn", "From: Bell, Alexander <sip:a.g.bell@192.0.2.5>;tag=43", leave="Fr"), 200),
    "badvers": Case(options("badvers", start="OPTIONS sip:t.watson@127.0.0.1 SIP/7.0"), 505),
    "mismatch01": Case(options("mismatch01", cseq="INVITE"), 400),
    "mismatch02": Case(options("mismatch02", method="NEWMETHOD", cseq="INVITE"), 400),
    "bigcode": Case(response("bigcode", "SIP/2.0 4294967301 better not break the receiver"), 0),
    # 3.2 and 3.3
    "badbranch": Case(options("", "X-Note: a branch of nothing but the cookie"), 200),
    "insuf": Case(options("insuf", leave="Fr To Ca"), 400),
    "unkscm": Case(options("unkscm", start="OPTIONS nobodyKnowsThisScheme:opaque SIP/2.0"), 416),
    "novelsc": Case(options("novelsc", start="OPTIONS soap.beep://192.0.2.103:3002 SIP/2.0"), 416),
    "unksm2": Case(options("unksm2", "To: <isbn:2983792873>", "From: <http://a>;tag=3", leave="To Fr"), 200),
    "bext01": Case(options("bext01", "Require: nothingSupportsThis, nothingSupportsThisEither"), 420),
    "invut": Case(message("invut", "Content-Type: application/unknownformat", body=b"<audio>"), 415),
    "regaut01": Case(register("regaut01", "Authorization: NoOneKnowsThisScheme opaque-data=here"), 405),
    # Two To, two From, ...: the first counts, as everywhere.
    "multi01": Case(
        options("multi01", "CSeq: 5 INVITE", "Call-ID: o@a", "To: <sip:x@a>", "From: <sip:y@a>"),
        200,
    ),
    "mcl01": Case(options("mcl01", "Content-Length: 13"), 0),  # where would the next one begin?
    "bcast": Case(response("bcast", "SIP/2.0 200 OK").replace(b"192.0.2.5:5070", b"255.255.255.255"), 0),
    "zeromf": Case(
        options("zeromf", "Max-Forwards: 0", leave="Ma"), 200
    ),  # it is for us: nothing is forwarded
    "cparam01": Case(register("cparam01", "Contact: sip:+1972555@192.0.2.5;unknownparam", leave="Co"), 405),
    "cparam02": Case(register("cparam02", "Contact: <sip:+1972555@192.0.2.5;unknownparam>", leave="Co"), 405),
    "regescrt": Case(
        register("regescrt", "Contact: <sip:user@192.0.2.5?Route=%3Csip:a%3E>", leave="Co"), 405
    ),
    "sdp01": Case(message("sdp01", "Accept: text/nobodyKnowsThis"), 200),  # our answer is SDP all the same
    # 3.4: a peer of RFC 2543 has no branch and no tag
    "inv2543": Case(
        message("inv2543", "Via: SIP/2.0/UDP 192.0.2.5:5070", "From: <sip:iuser@192.0.2.5>", leave="Vi Fr"),
        200,
    ),
}
