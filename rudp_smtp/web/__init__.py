"""The inbox as a web page, for the eyes: read-only, on loopback, live as mail arrives.

Everything shown was sent by strangers. So pages carry no script but ours and load nothing from elsewhere; HTML of a
message is shown in a sandboxed frame, from a path of its own whose policy allows no script, form, or remote content;
attachments are handed out to be saved, never to be shown. Who asks by another name than loopback's is refused, or a
page elsewhere could read the mail by a name of its own that points here (DNS rebinding).
"""

from rudp_smtp.web.app import make_app

__all__ = ["make_app"]
