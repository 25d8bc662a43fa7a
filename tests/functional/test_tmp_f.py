import random, hashlib, base64, quopri, re, sys, os, email
from tests.functional.test_scripted_forwards import *
from tests.functional.test_scripted_forwards import opened
from tests.functional.mail_tree import sections, Entity
from tests.functional.drafts import PREAMBLE, EPILOGUE

R = random.Random(int(os.environ.get("SEED", "1")))
LINES_ = [b"hello", b"", b".", b"..", "Grüße".encode(), b"\xff\xfe", b"x" * 998, b"x" * 999, "é".encode() * 700, b"=20 trailing ", b"--=_client", b"From x", b"a = b", b"tab\t"]
def text(odd):
    pool = LINES_ if odd else [b"hello", b"", b".", b"From x", b"a=b "]
    n = R.choice([0, 1, 3, 20])
    end = R.choice([b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r"]) if odd else b"\r\n"
    return end.join(R.choice(pool) for _ in range(n)) + R.choice([b"", end])
def rleaf():
    kind = R.choice(["text/plain", "text/html; charset=utf-8", "application/x", "image/png; name=\"a.png\"", None])
    enc = R.choice([None, "7bit", "8bit", "binary", "base64", "quoted-printable", "Base64"])
    odd = R.random() < .6
    data = text(odd)
    data = re.sub(rb"\r\n|\r|\n", b"\r\n", data)
    if enc in ("base64", "Base64"):
        body = base64.encodebytes(data).replace(b"\n", R.choice([b"\r\n", b"\r\n", b"", b"\r\n\r\n"]))
    elif enc == "quoted-printable":
        body = quopri.encodestring(data.replace(b"\r\n", b"\n")).replace(b"\n", b"\r\n")
    else: body = data
    fields = (b"Content-Type: %b\r\n" % kind.encode() if kind else b"") + (b"Content-Transfer-Encoding: %b\r\n" % enc.encode() if enc else b"")
    if R.random() < .2: fields += b"Content-Disposition: attachment; filename=x\r\n"
    if R.random() < .1: fields += "Content-Description: ü\r\n".encode()
    return Entity(fields, body, (kind or "text/plain").partition(";")[0])
N = [0]
def tree(depth):
    r = R.random()
    if depth == 0 or r < .45: return rleaf()
    if r < .8:
        N[0] += 1
        b = b"=_b%d" % N[0]
        parts = [tree(depth-1) for _ in range(R.choice([1,1,2,3]))]
        sub = R.choice(["mixed","mixed","alternative","related","signed"] )
        header = b'Content-Type: multipart/%b; boundary="%b"\r\n' % (sub.encode(), b)
        pre = R.choice([b"", b"", b"preamble\r\n"]); post = R.choice([b"", b"\r\n", b"epilogue\r\n"])
        body = pre + b"\r\n".join(b"--%b\r\n%b" % (b, p.octets) for p in parts) + b"\r\n--%b--%b" % (b, post or b"")
        if post and not post.startswith(b"\r\n"): body = body[: -len(post)] + b"\r\n" + post
        return Entity(header, body, f"multipart/{sub}", tuple(parts))
    m = tree(depth-1).headed(b"Subject: in\r\nMIME-Version: 1.0\r\n")
    return attached(m, R.choice([b"", b"Content-Transfer-Encoding: 8bit\r\n", b"Content-Transfer-Encoding: 7bit\r\n"]))
def locate(message, name):
    cont = part = message
    for n in [int(x) for x in name.split(".")] if name else []:
        part = cont.parts[n-1] if cont.kind.startswith("multipart/") else cont
        cont = part.parts[0] if part.kind == "message/rfc822" else part
    return part
def fit(o, seven):
    o = re.sub(rb"\r\n|\r|\n", b"\r\n", o)
    return (not seven or o.isascii()) and max(map(len, o.split(b"\r\n"))) <= 998
def has_signed_unfit(e, seven):
    if e.kind == "multipart/signed" and not fit(e.body, seven): return True
    return any(has_signed_unfit(p, seven) for p in e.parts)
def dec(header, body):
    m = email.message_from_bytes(re.sub(rb"(?m)^Content-Type: (multipart|message)[^\r]*\r\n", b"", header) + b"\r\n" + body, policy=email.policy.compat32)
    if m.get("content-transfer-encoding","").lower()=="base64":
        return base64.b64decode(body + b"====" if False else re.sub(rb"[^A-Za-z0-9+/=]", b"", body))
    return re.sub(rb"\r\n|\r|\n", b"\r\n", m.get_payload(decode=True))
def same(e, header, body, seven, path=""):
    assert fit(body, seven), path
    if fit(e.body, seven):
        assert body.removesuffix(b"\r\n") == re.sub(rb"\r\n|\r|\n", b"\r\n", e.body).removesuffix(b"\r\n"), (path, "untouched", body[:300], e.body[:300])
        return
    if e.kind.startswith("multipart/"):
        s = Seen(header, body)
        assert len(s.parts) == len(e.parts), path
        for i, (p, q) in enumerate(zip(e.parts, s.parts)): same(p, q.header, q.body, seven, path + f".{i+1}")
    elif e.kind == "message/rfc822":
        q = seen(body); same(e.parts[0], q.header, q.body, seven, path + ".m")
    else:
        a, b = dec(e.header, e.body), dec(header, body)
        assert a.rstrip(b"\r\n") == b.rstrip(b"\r\n"), (path, e.header, e.body[:200], header, body[:200], a[:200], b[:200])
def test_fuzz(opened):
    office = opened
    stats = {}
    for i in range(int(os.environ.get("COUNT", "300"))):
        with office.performance():
            seven = R.random() < .5
            office.smtp.script["EHLO"] = "250 fake" if seven else "250-fake\n250-SIZE\n250 8BITMIME"
            N[0] = 0
            message = tree(R.choice([1,2,3,4])).headed(b"Subject: stored\r\n")
            office.imap.mailboxes[b"INBOX"] = {1: message}
            names = [n for n in sections(message) if not re.search("[A-Z]", n)]
            name = R.choice(names)
            e = locate(message, name)
            whole = R.random() < .3
            path = f"/INBOX/;UID=1" + (f"/;SECTION={name}" if name else "")
            depth = R.choice([0,0,1,2])
            d = ENVELOPE + reference(path) if whole else draft(BEFORE, nested(reference(path), depth), AFTER)
            a = office.submit(d)
            target = e if (name or whole) else attached(message)
            key = (re.sub(r"cannot read \S+", "cannot read", a), seven)
            stats[key] = stats.get(key, 0) + 1
            try:
                if a != "OK SUBMIT completed":
                    assert has_signed_unfit(target, seven) or "Content-Transfer" and False, a
                    continue
                s = office.arrived()
                if not whole:
                    b, q, c = s.parts
                    assert (b, c) == (seen(BEFORE), seen(AFTER))
                    for _ in range(depth): (q,) = q.parts
                else: q = s
                same(target, q.header, q.body, seven)
                if f" SIZE=" in office.received().mail: assert f" SIZE={len(office.received().content)}" in office.received().mail
            except AssertionError as x:
                print("FAIL", i, name, whole, seven, a, str(x)[:1500]); print("   message", message.octets[:1500])
            except Exception as x:
                print("EXC", i, name, whole, seven, repr(x)); print("   message", message.octets[:1500])
    for k, v in sorted(stats.items()): print(v, k)
