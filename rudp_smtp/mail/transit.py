"""An envelope as the queue keeps it, and as it goes out again: nothing that its sender asked for is lost on the way."""

from collections.abc import Sequence

from rudp_smtp.mail.queued import TLS_OPTIONAL, QueuedMail, Recipient, Submission
from rudp_smtp.smtp.envelope import Envelope
from rudp_smtp.smtp.parameters import BodyType, Notify, RecipientDsn, Ret

BODY, SMTPUTF8, AUTH, REQUIRETLS = "BODY", "SMTPUTF8", "AUTH", "REQUIRETLS"


def submission_of(envelope: Envelope, indexes: Sequence[int], key: str) -> Submission:
    """What the queue keeps of an envelope, for some of its recipients; its mail data is written into a draft."""
    parameters = (
        *(((BODY, envelope.body.value),) if envelope.body is not None else ()),
        *(((SMTPUTF8, ""),) if envelope.is_smtputf8 else ()),
        *(((AUTH, envelope.vouched),) if envelope.vouched else ()),
        *(((REQUIRETLS, ""),) if envelope.requires_tls else ()),
        *((TLS_OPTIONAL,) if envelope.is_tls_optional else ()),
    )
    recipients = []
    for index in indexes:
        dsn = envelope.dsn_of(index)
        wishes = tuple(wish.value for wish in dsn.notify)
        recipients.append(Recipient(envelope.forward_paths[index], wishes, dsn.orcpt))
    return Submission(
        reverse_path=envelope.reverse_path,
        recipients=tuple(recipients),
        envelope_id=envelope.envid,
        returns=envelope.ret.value if envelope.ret is not None else "",
        parameters=parameters,
        key=key,
    )


def envelope_of(mail: QueuedMail, forward_paths: Sequence[str], *, key: str, mail_data: bytes = b"") -> Envelope:
    """The envelope of one attempt. `key`: see `Queue.relay_key`."""
    about = mail.submission
    wishes = {recipient.forward_path: recipient for recipient in about.recipients}
    dsn = tuple(
        RecipientDsn(tuple(Notify(word) for word in wishes[path].notify), wishes[path].original)
        for path in forward_paths
    )
    parameters = dict(about.parameters)
    return Envelope(
        about.reverse_path,
        tuple(forward_paths),
        mail_data,
        body=BodyType(parameters[BODY]) if BODY in parameters else None,
        is_smtputf8=SMTPUTF8 in parameters,
        ret=Ret(about.returns) if about.returns else None,
        envid=about.envelope_id,
        dsn=dsn if any(wish != RecipientDsn() for wish in dsn) else (),
        auth=parameters.get(AUTH, ""),
        requires_tls=REQUIRETLS in parameters,
        is_tls_optional=about.is_tls_optional,
        idempotency_key=key,
    )
