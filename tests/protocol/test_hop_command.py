"""STARTTLS and COMPRESS, as scripts: see ``script``. Nothing said in the old manner counts in the new one."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol.script import GREETING, LOGIN, TERMS, Scene, play

STARTTLS = replace(TERMS, starttls=True)
HELLO = r"""
    S: * OK hello
    P: * OK hello
"""
TLS = r"""
    C: T STARTTLS
    P: T OK Begin TLS negotiation now
    !: StartTls
    T:
"""
COMPRESSION = r"""
    C: Z COMPRESS DEFLATE
    P: Z OK DEFLATE active
    !: Compress
    Z: \
"""


class TestStartTls:
    def test_is_offered_until_it_is_done(self) -> None:
        play(
            r"""
            S: * OK [CAPABILITY IMAP4rev1 STARTTLS] hi
            P: * OK [CAPABILITY IMAP4rev1 CAN-SUBMIT STARTTLS] hi
            """
            + TLS
            + r"""
            C: a CAPABILITY
            U: a CAPABILITY
            S: * CAPABILITY IMAP4rev1 STARTTLS
            P: * CAPABILITY IMAP4rev1 CAN-SUBMIT
            S: a OK done
            P: a OK done
            C: b STARTTLS
            P: b BAD This command was not offered
            """
            + LOGIN,
            STARTTLS,
        )

    @pytest.mark.parametrize(
        "pipelined",
        [
            "b LOGIN anna secret",
            "b NOOP\\r\\nc LOGIN anna secret",
            "b LOGIN anna {6}",
            "b LOGIN anna {6+}\\r\\nsec",
            "b AUTHENTICATE PLAIN AGFubmEAc2VjcmV0",
            "b SUBMIT {3+}\\r\\nabc",
            "b STARTTLS",
            "unfinished\\",
        ],
    )
    def test_throws_away_what_is_pipelined_behind_it(self, pipelined: str) -> None:
        # CVE-2011-0411 and its kin: what somebody on the way put there would count as said in TLS.
        play(
            HELLO
            + rf"""
            C: a STARTTLS\r\n{pipelined}
            P: a OK Begin TLS negotiation now
            !: StartTls
            T:
            C: z NOOP
            U: z NOOP
            """,
            STARTTLS,
        )

    def test_throws_away_what_comes_before_the_handshake_is_done(self) -> None:
        play(
            HELLO
            + r"""
            C: a STARTTLS
            P: a OK Begin TLS negotiation now
            !: StartTls
            C: b LOGIN anna secret
            T:
            """
            + LOGIN,
            STARTTLS,
        )

    @given(st.binary(max_size=100), st.binary(max_size=100), st.integers(1, 100))
    def test_lets_nothing_said_in_the_clear_through(self, behind: bytes, later: bytes, chunk: int) -> None:
        scene = Scene(chunk, STARTTLS)
        scene.play(HELLO)
        scene.client(b"a STARTTLS\r\n" + behind)
        scene.client(later)
        scene.play("P: a OK Begin TLS negotiation now\n!: StartTls\nT:" + LOGIN)

    def test_waits_for_what_is_outstanding_and_throws_away_what_waits_behind_it(self) -> None:
        play(
            HELLO
            + r"""
            C: a NOOP
            U: a NOOP
            C: a STARTTLS\r\nb LOGIN anna secret
            S: a OK noop done
            P: a OK noop done
            P: a OK Begin TLS negotiation now
            !: StartTls
            T:
            """
            + LOGIN,
            STARTTLS,
        )

    def test_waits_for_the_login_that_makes_it_needless(self) -> None:
        play(
            HELLO
            + r"""
            C: L LOGIN fred secret
            U: L LOGIN fred secret
            C: a STARTTLS\r\nb NOOP
            S: L OK logged in
            P: L OK logged in
            !: LoggedIn fred
            P: a BAD This command was not offered
            U: b NOOP
            """,
            STARTTLS,
        )

    def test_waits_for_the_end_of_a_response(self) -> None:
        for chunk in (1, 1000):
            scene = Scene(chunk, STARTTLS)
            scene.play(HELLO)
            scene.server(b"* ID (x {3}\r\na")
            scene.client(b"a STARTTLS\r\n")
            assert scene.other == []
            scene.server(b"bc)\r\n")
            scene.play("P: * ID (x {3}\\r\\nabc)\nP: a OK Begin TLS negotiation now\n!: StartTls")

    def test_is_data_in_an_exchange(self) -> None:
        play(
            GREETING.replace("CAN-SUBMIT", "CAN-SUBMIT STARTTLS")
            + r"""
            C: a AUTHENTICATE PLAIN
            U: a AUTHENTICATE PLAIN
            C: b STARTTLS
            S: +
            P: +
            U: b STARTTLS
            """,
            STARTTLS,
        )

    @pytest.mark.parametrize("line", ["a STARTTLS now", "a STARTTLS {3}", "a STARTTLS {6+}\\r\\nb NOOP"])
    def test_takes_no_arguments(self, line: str) -> None:
        play(HELLO + f"C: {line}\nP: a BAD This command was not offered\nC: z NOOP\nU: z NOOP", STARTTLS)

    def test_is_none_without_a_certificate(self) -> None:
        play(HELLO + "C: a STARTTLS\nP: a BAD This command was not offered")

    def test_is_none_in_tls(self) -> None:
        play(HELLO + "C: a STARTTLS\nP: a BAD This command was not offered", STARTTLS, is_secure=True)

    def test_makes_what_was_announced_before_it_void(self) -> None:
        play(
            GREETING.replace("CAN-SUBMIT", "CAN-SUBMIT STARTTLS")
            + TLS
            + r"""
            C: a LOGIN {4+}\r\nfred secret
            P: a BAD The server has not announced that it takes non-synchronizing literals
            """,
            STARTTLS,
        )

    def test_makes_a_login_possible_where_it_is_demanded(self) -> None:
        play(
            HELLO
            + r"""
            C: a LOGIN anna secret
            P: a NO [PRIVACYREQUIRED] Start TLS first
            """
            + TLS
            + LOGIN,
            replace(STARTTLS, require_tls=True),
        )

    def test_wants_no_client_until_it_is_done_and_says_no_farewell_in_the_clear(self) -> None:
        scene = Scene(terms=STARTTLS)
        scene.play(HELLO)
        scene.client(b"a STARTTLS\r\n")
        assert not scene.dialogue.wants_client
        scene.dialogue.tls_started()
        assert scene.dialogue.wants_client
        scene = Scene(terms=STARTTLS)
        scene.play(HELLO + "C: a STARTTLS\nP: a OK Begin TLS negotiation now\n!: StartTls")
        scene.take(scene.dialogue.farewell("stopping"))
        scene.play("!: Close")


class TestCompress:
    @pytest.mark.parametrize(
        "login", ["L LOGIN fred secret", "L AUTHENTICATE PLAIN AGZyZWQAc2VjcmV0"], ids=["LOGIN", "AUTHENTICATE"]
    )
    def test_is_offered_in_a_list_that_comes_just_before_the_ok_of_the_login(self, login: str) -> None:
        """As Dovecot has it for a client that has asked before."""
        play(
            rf"""
            S: * OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hi
            P: * OK [CAPABILITY IMAP4rev1 AUTH=PLAIN CAN-SUBMIT] hi
            C: a CAPABILITY
            U: a CAPABILITY
            C: {login}
            U: {login}
            S: * CAPABILITY IMAP4rev1 AUTH=PLAIN
            P: * CAPABILITY IMAP4rev1 AUTH=PLAIN CAN-SUBMIT
            S: a OK done
            P: a OK done
            S: * CAPABILITY IMAP4rev1 IDLE
            P: * CAPABILITY IMAP4rev1 IDLE CAN-SUBMIT COMPRESS=DEFLATE
            S: L OK logged in
            !: LoggedIn fred
            P: L OK logged in
            """
        )

    def test_is_offered_from_the_login_on_until_it_is_done(self) -> None:
        play(
            r"""
            S: * OK [CAPABILITY IMAP4rev1 COMPRESS=DEFLATE] hi
            P: * OK [CAPABILITY IMAP4rev1 CAN-SUBMIT] hi
            C: L LOGIN fred secret
            U: L LOGIN fred secret
            S: L OK [CAPABILITY IMAP4rev1 IDLE] logged in
            P: L OK [CAPABILITY IMAP4rev1 IDLE CAN-SUBMIT COMPRESS=DEFLATE] logged in
            !: LoggedIn fred
            """
            + COMPRESSION
            + r"""
            C: a CAPABILITY
            U: a CAPABILITY
            S: * CAPABILITY IMAP4rev1 IDLE
            P: * CAPABILITY IMAP4rev1 IDLE CAN-SUBMIT
            S: a OK done
            P: a OK done
            C: b COMPRESS DEFLATE
            P: b NO [COMPRESSIONACTIVE] DEFLATE is active already
            """
        )

    def test_is_offered_with_preauth(self) -> None:
        play(
            r"""
            S: * PREAUTH [CAPABILITY IMAP4rev1] hi fred
            P: * PREAUTH [CAPABILITY IMAP4rev1 CAN-SUBMIT COMPRESS=DEFLATE] hi fred
            """
            + COMPRESSION
        )

    @pytest.mark.parametrize("behind", ["\\x78\\x9c\\n\\x00\\", "b NOOP", "b SUBMIT {3+}\\r\\nabc"])
    def test_gives_back_what_was_read_behind_it(self, behind: str) -> None:
        play(
            GREETING
            + LOGIN
            + rf"""
            C: a compress deflate\r\n{behind}
            P: a OK DEFLATE active
            !: Compress
            Z: {behind}
            C: z NOOP
            U: z NOOP
            """
        )

    def test_gives_back_what_waited_behind_it(self) -> None:
        play(
            GREETING
            + LOGIN
            + r"""
            C: a NOOP
            U: a NOOP
            C: b COMPRESS DEFLATE
            C: \x78\x9c\
            S: a OK noop done
            P: a OK noop done
            P: b OK DEFLATE active
            !: Compress
            C: \x00\
            Z: \x78\x9c\x00\
            """
        )

    def test_waits_for_the_login_that_it_needs(self) -> None:
        play(
            GREETING
            + r"""
            C: L LOGIN fred secret
            U: L LOGIN fred secret
            C: a COMPRESS DEFLATE
            S: L OK logged in
            P: L OK logged in
            !: LoggedIn fred
            P: a OK DEFLATE active
            !: Compress
            """
        )

    def test_while_a_literal_is_under_way_is_the_literals(self) -> None:
        play(
            GREETING
            + LOGIN
            + r"""
            C: a APPEND x {39}
            U: a APPEND x {39}
            C: b COMPRESS DEFLATE\r\n\
            S: + go
            P: + go
            U: b COMPRESS DEFLATE\r\n\
            C: c COMPRESS DEFLATE\
            U: c COMPRESS DEFLATE\
            """
        )

    def test_behind_a_literal_that_the_server_refuses_waits_for_that(self) -> None:
        play(
            GREETING
            + LOGIN
            + r"""
            C: a APPEND x {20}
            U: a APPEND x {20}
            C: b COMPRESS DEFLATE
            S: a NO no such mailbox
            P: a NO no such mailbox
            P: b OK DEFLATE active
            !: Compress
            """
        )

    def test_behind_a_submission_waits_for_its_outcome(self) -> None:
        scene = play(GREETING + LOGIN + "C: a SUBMIT {3+}\\r\\nabc\\r\\nb COMPRESS DEFLATE\n!: Submit fred")
        scene.take(scene.dialogue.submitted())
        scene.play("P: a OK SUBMIT completed\nP: b OK DEFLATE active\n!: Compress")

    def test_before_a_submission_lets_it_in_compressed(self) -> None:
        play(GREETING + LOGIN + COMPRESSION + "C: a SUBMIT {3+}\nC: abc\n!: Submit fred")

    @pytest.mark.parametrize(
        "line",
        [
            "a COMPRESS",
            "a COMPRESS LZ4",
            "a COMPRESS DEFLATE DEFLATE",
            "a COMPRESS {7}",
            "a COMPRESS {7+}\\r\\nDEFLATE",
        ],
    )
    def test_takes_one_argument(self, line: str) -> None:
        play(
            GREETING + LOGIN + f"C: {line}\nP: a BAD COMPRESS takes one argument: DEFLATE\nC: z NOOP\nU: z NOOP",
        )

    def test_is_none_before_login_or_where_it_is_off(self) -> None:
        play(GREETING + "C: a COMPRESS DEFLATE\nP: a BAD This command was not offered\nC: z NOOP\nU: z NOOP")
        off = replace(TERMS, compress=False)
        play(GREETING + LOGIN + "C: a COMPRESS DEFLATE\nP: a BAD This command was not offered", off)

    def test_outlives_the_user(self) -> None:
        play(
            GREETING.replace("SASL-IR", "UNAUTHENTICATE").replace("CAN-SUBMIT", "CAN-SUBMIT STARTTLS")
            + LOGIN
            + COMPRESSION
            + r"""
            C: a UNAUTHENTICATE
            U: a UNAUTHENTICATE
            S: a OK [CAPABILITY IMAP4rev1] who was that
            P: a OK [CAPABILITY IMAP4rev1 CAN-SUBMIT] who was that
            !: LoggedOut
            C: b COMPRESS DEFLATE
            P: b NO [COMPRESSIONACTIVE] DEFLATE is active already
            C: c STARTTLS
            P: c BAD This command was not offered
            """,
            STARTTLS,
        )

    def test_wants_no_client_until_it_is_done_and_says_no_farewell_uncompressed(self) -> None:
        scene = Scene()
        scene.play(GREETING + LOGIN)
        scene.client(b"a COMPRESS DEFLATE\r\nx")
        assert not scene.dialogue.wants_client
        scene.play("P: a OK DEFLATE active\n!: Compress\nZ: x\\")
        assert scene.dialogue.wants_client
        scene.play("C: b COMPRESS DEFLATE\nP: b NO [COMPRESSIONACTIVE] DEFLATE is active already")
        scene.take(scene.dialogue.farewell("stopping"))
        scene.play("P: * BYE stopping\n!: Close")


def test_tls_and_then_compression_inside_it() -> None:
    play(HELLO + TLS + LOGIN + COMPRESSION + "C: a NOOP\nU: a NOOP", STARTTLS)
