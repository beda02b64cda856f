"""What generated mail is made of: people, subjects, prose and files. Every name is invented, every domain reserved."""

SENDER_DOMAIN = "sender.example"  # RFC 2606
RECIPIENT_DOMAIN = "recipient.example"

# Display name and local part: not every name is ASCII, and not every phrase may stand unquoted.
PEOPLE = (
    ("Ada Brown", "ada.brown"),
    ("Benoît Lefèvre", "benoit.lefevre"),
    ("Chandra Rao", "chandra"),
    ("Dmitri Orlov", "d.orlov"),
    ("Elif Şahin", "elif.sahin"),
    ("Finn O'Hara", "finn.o'hara"),
    ("Grace Mbeki", "grace+lists"),
    ("Dr. Hiro Tanaka", "hiro.tanaka"),
    ("Ines Müller", "ines.mueller"),
    ("Jonas Lind", "jonas"),
    ("Smith, Karen", "karen.smith"),
    ("Liu Wei", "liu_wei"),
    ("Marta Nowak", "marta.nowak"),
    ("Nils Ångström", "nils"),
    ("Olu Adeyemi", "olu-adeyemi"),
    ("Priya Iyer", "priya.iyer"),
)

SUBJECTS = (
    "Minutes of last week's meeting",
    "Re: Delivery date",
    "Draft for review",
    "Fwd: Travel arrangements",
    "Invoice 20417",
    "Lunch on Thursday?",
    "Re: Re: Test results, second series",
    "Änderung der Öffnungszeiten",
    "Your order has left our warehouse",
    "Compte rendu de la réunion",
    "[project] nightly build failed",
    "Photographs from Saturday",
    "Re: 会議の資料",
    "Quarterly figures",
    "Reminder: the lift is being repaired",
    "Question about chapter 4",
)

GREETINGS = (
    "Hello,",
    "Dear all,",
    "Hi there,",
    "Guten Tag, schöne Grüße aus Köln!",
    "Bonjour à tous,",
    "Hej på er,",
    "Good morning,",
    "> On Monday you wrote:",
)

CLOSINGS = ("Best regards", "Thanks", "Viele Grüße", "See you", "À bientôt", "Yours", "Cheers", "Kind regards")

USER_AGENTS = ("Letterbox/4.2", "Postcard 1.9.1 (desktop)", "webmail 2024.3")

# Media type, subtype, file name, and the octets such a file begins with.
FILES = (
    ("application", "pdf", "report.pdf", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"),
    ("image", "png", "diagram.png", b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"),
    ("image", "jpeg", "IMG_2041.jpg", b"\xff\xd8\xff\xe0\x00\x10JFIF\x00"),
    ("application", "zip", "archive.zip", b"PK\x03\x04\x14\x00\x00\x00\x08\x00"),
    ("application", "octet-stream", "measurements 2024.bin", b""),
    ("application", "pdf", "Kostenübersicht März.pdf", b"%PDF-1.4\n"),
    ("audio", "mpeg", "voice-note.mp3", b"ID3\x04\x00\x00"),
    ("application", "gzip", "logs.tar.gz", b"\x1f\x8b\x08\x00"),
)

# 128 words, each of three octets or more; those that begin with a dot meet the transparency of RFC 5321 s4.5.2.
WORDS = tuple(
    b"""the and you that for with this have from are will was not but our can all has been which their more one
    would what when there who some them then out about into time than only other new could two also these after first
    any should work well even because most three people way how make good made between see part each order number
    again small under old place might house need water question point second group later change however open
    really line report system large program early paper money table morning letter office review almost figure
    tomorrow, today, please however, meeting. street. number, yesterday. version. enough. answer. problem. result.
    week. ready. soon. instead. From From: .profile .config ... always. perhaps next. plan, cost,
    list, name, draft""".split()
)
