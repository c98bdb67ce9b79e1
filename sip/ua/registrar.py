"""The door for accounts: challenges, REGISTER, and keeping the ways to registered phones open.

request -> known source? -> let in          a stranger, or everybody: 401 -> digest -> account | ban list
REGISTER -> account -> Bindings -> 200 with all contacts
"""

import asyncio
import logging
import secrets
from typing import TYPE_CHECKING

from sip.errors import RemoteProtocolError
from sip.ua.accounts import Account, Challenge
from sip.ua.authority import Authority, Verdict
from sip.ua.bindings import SHORTEST_S, Binding, Bindings
from sip.ua.config import SipConfig
from sip.ua.flow import Flow
from sip.ua.layer import ServerTransaction
from sip.ua.message import Request, reply

if TYPE_CHECKING:
    from sip.ua.stack import Stack

log = logging.getLogger(__name__)


class Registrar:
    """Of one user agent. Without accounts it lets everybody in that the source filter has let in."""

    def __init__(self, config: SipConfig) -> None:
        self._config = config
        self._authority = Authority(
            config.realm, config.accounts, config.digest_algorithms, secrets.token_bytes(32)
        )
        self._names = {name: account for account in config.accounts for name in account.names}
        self.bindings = Bindings()

    @property
    def wanted(self) -> bool:
        """Whether there are accounts at all."""
        return bool(self._config.accounts)

    def account_of(self, name: str) -> Account | None:
        """The account that is called by this user name or number."""
        return self._names.get(name)

    def phones(self, name: str) -> list[Binding]:
        """Where the account of that name can be reached now."""
        account = self.account_of(name)
        now = asyncio.get_running_loop().time()
        return self.bindings.find(account.user, now) if account is not None else []

    def admit(
        self, stack: "Stack", request: Request, transaction: ServerTransaction, flow: Flow
    ) -> tuple[bool, Account | None]:
        """Whether a request outside of a dialog is let in, and whose it is; if not, it has been answered."""
        if not self.wanted:
            return True, None
        verdict, account = self._judge(stack, request, flow)
        if verdict is Verdict.RIGHT:
            return True, account
        if verdict is Verdict.NOTHING and request.method != "REGISTER" and not self._asks(stack, flow.host):
            return True, None
        self._challenge(stack, request, transaction, flow, verdict)
        return False, None

    def _judge(self, stack: "Stack", request: Request, flow: Flow) -> tuple[Verdict, Account | None]:
        try:
            verdict, account = self._authority.judge(request, flow.host, asyncio.get_running_loop().time())
        except RemoteProtocolError as e:
            log.info("sip credentials unreadable", extra={"peer": flow.host, "error": str(e)})
            return Verdict.WRONG, None
        if verdict is Verdict.WRONG:
            log.warning("sip password refused", extra={"peer": flow.host, "method": request.method})
            stack.sources.failed_auth(flow.host)
        return verdict, account

    def _asks(self, stack: "Stack", host: str) -> bool:
        """Whether this source needs a password to call."""
        if stack.trunks.of_host(host) is not None:
            return False
        challenge = self._config.challenge
        return challenge is Challenge.EVERYBODY or not stack.sources.known(host)

    def _challenge(
        self, stack: "Stack", request: Request, transaction: ServerTransaction, flow: Flow, verdict: Verdict
    ) -> None:
        # A phone that is challenged anew tries the same password again and again; 403 tells its user.
        status = 403 if verdict is Verdict.WRONG else 401
        response = reply(request, status, tag=secrets.token_hex(8))
        now = asyncio.get_running_loop().time()
        if status == 401:
            for value in self._authority.challenges(now, flow.host, stale=verdict is Verdict.STALE):
                response.headers.add("www-authenticate", value)
        stack.exchange.respond(transaction, response)

    # REGISTER

    def register(
        self, stack: "Stack", request: Request, transaction: ServerTransaction, account: Account, flow: Flow
    ) -> None:
        """A REGISTER of an account that has proven itself."""
        loop = asyncio.get_running_loop()
        try:
            if request.to.sip_uri().user not in account.names:
                raise RemoteProtocolError("registers somebody else", 403)
            found = self.bindings.register(account, request, flow, loop.time())
        except RemoteProtocolError as e:
            log.info("sip register refused", extra={"account": account.user, "error": str(e)})
            response = reply(request, e.status, tag=secrets.token_hex(8))
            if e.status == 423:
                response.headers.add("min-expires", str(SHORTEST_S))
            stack.exchange.respond(transaction, response)
            return
        response = stack.ok(request, transaction, flow, secrets.token_hex(8))
        response.headers.add("supported", "path")
        for path in request.headers.values("path"):
            response.headers.add("path", path)
        for binding in found:
            left = round(binding.expires_at - loop.time())
            response.headers.add("contact", f"<{binding.contact}>;expires={left}")
        stack.exchange.respond(transaction, response)
        log.info("sip phone registered", extra={"account": account.user, "phones": len(found)})

    async def keep(self, stack: "Stack") -> None:
        """Until cancelled: forget what has expired, and keep the ways through routers open."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._config.keepalive_s or 25.0)
            now = loop.time()
            self.bindings.purge(now)
            if self._config.keepalive_s:
                for flow in {b.flow for _, b in self.bindings.all(now) if b.flow.transport == "UDP"}:
                    stack.exchange.send_raw(b"\r\n\r\n", flow)  # RFC 5626, 3.5.2: routers forget after 30 s
