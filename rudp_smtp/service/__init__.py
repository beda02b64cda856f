"""A running mail service: listeners, sessions, store and relay put together. A composition root, like `experiment`.

addresses   rudp://127.0.0.1:2525 and its like
streams     listen and connect by such an address: our transport or TCP, asyncio's streams in any case
commits     messages of many sessions made safe together (group commit)
office      who may send what to whom, where it goes, and what is answered
clients     how much of us one client may use
desk        one session's events, answered
storybook   what the transport went through for each message, written down
home        our own mailboxes as a next host
relaying    the queue's messages on their way to the next host
passed      what was passed on under a key, so that no repeat is
passing     a session in front and a session behind, and 250 only after the far end's
"""
