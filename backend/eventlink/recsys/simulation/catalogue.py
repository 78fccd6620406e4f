"""The words of a simulated city: its neighbourhoods, topics, tags, venues, titles, descriptions.

What does not live here: any number drawn at random.
"""

from dataclasses import dataclass

LANGUAGES = ("ro", "en")

FIRST_NAMES = (
    *("Ana", "Andrei", "Bianca", "Bogdan", "Călin", "Cristina", "Dan", "Daria", "Diana", "Elena"),
    *("Eszter", "Florin", "Gabriel", "Ioana", "Irina", "István", "Katalin", "Larisa", "László"),
    *("Lucia", "Maria", "Mihai", "Mircea", "Oana", "Paul", "Radu", "Raluca", "Sergiu", "Sofia"),
    *("Teodora", "Tudor", "Vlad", "Zsófia"),
)
LAST_NAMES = (
    *("Albu", "Balog", "Bucur", "Chiorean", "Cosma", "Crișan", "Dobre", "Fekete", "Florea"),
    *("Ilea", "Kiss", "Lazăr", "Marian", "Moldovan", "Mureșan", "Nagy", "Oltean", "Pop", "Popa"),
    *("Rus", "Sabău", "Stan", "Szabó", "Szilágyi", "Todea", "Vaida", "Varga", "Zaharia"),
)


@dataclass(frozen=True)
class Neighbourhood:
    """A part of the city, or a town beside it, with its share of the people."""

    name: str
    city: str
    lat: float
    lon: float
    share: float


NEIGHBOURHOODS = (
    Neighbourhood("Centru", "Cluj-Napoca", 46.770, 23.590, 0.16),
    Neighbourhood("Mănăștur", "Cluj-Napoca", 46.756, 23.557, 0.18),
    Neighbourhood("Mărăști", "Cluj-Napoca", 46.780, 23.615, 0.14),
    Neighbourhood("Gheorgheni", "Cluj-Napoca", 46.768, 23.622, 0.12),
    Neighbourhood("Zorilor", "Cluj-Napoca", 46.755, 23.583, 0.10),
    Neighbourhood("Grigorescu", "Cluj-Napoca", 46.767, 23.556, 0.07),
    Neighbourhood("Iris", "Cluj-Napoca", 46.795, 23.615, 0.04),
    Neighbourhood("Bună Ziua", "Cluj-Napoca", 46.745, 23.605, 0.04),
    Neighbourhood("Someșeni", "Cluj-Napoca", 46.783, 23.652, 0.03),
    Neighbourhood("Florești", "Florești", 46.746, 23.491, 0.08),
    Neighbourhood("Apahida", "Apahida", 46.810, 23.745, 0.02),
    Neighbourhood("Turda", "Turda", 46.567, 23.785, 0.02),
)

VENUE_KINDS = (
    "Cultural House",
    "Library",
    "Community Hall",
    "Garden",
    "Studio",
    "Sports Hall",
    "Café",
    "Workshop",
    "Terrace",
    "Youth Centre",
)
"""A venue is called after its neighbourhood and its kind: "Zorilor Library"."""


@dataclass(frozen=True)
class Topic:
    """What a gathering is about. Titles are by language; the first tag is the topic's name."""

    category: str
    tags: tuple[str, str, str, str]
    about: dict[str, str]
    """What all its gatherings have in common, by language; the tags are narrower."""
    weekend: float
    """The share of its events that are held on a weekend's day rather than in an evening."""
    series: dict[str, tuple[str, ...]]
    single: dict[str, tuple[str, ...]]


TOPICS = (
    Topic(
        "Dance",
        ("Argentine tango", "Milonga", "Social dancing", "Tango lessons"),
        {"en": "Tango", "ro": "Tango"},
        0.15,
        {
            "en": ("Argentine Tango practica", "Tango for beginners", "Neighbourhood milonga"),
            "ro": (
                "Practică de tango argentinian",
                "Tango pentru începători",
                "Milonga de cartier",
            ),
        },
        {
            "en": ("Tango workshop with guest teachers", "Open-air milonga in {place}"),
            "ro": ("Atelier de tango cu invitați", "Milonga în aer liber, {place}"),
        },
    ),
    Topic(
        "Dance",
        ("Salsa", "Bachata", "Latin dance", "Kizomba"),
        {"en": "Latin rhythms", "ro": "Ritmuri latino"},
        0.1,
        {
            "en": ("Salsa social", "Bachata level 1", "Latin dance evening"),
            "ro": ("Seară de salsa", "Bachata nivel 1", "Dansuri latino în {place}"),
        },
        {
            "en": ("Salsa party on the terrace", "Kizomba crash course", "Latin night in {place}"),
            "ro": ("Petrecere latino", "Curs intensiv de kizomba", "Noapte de salsa în {place}"),
        },
    ),
    Topic(
        "Outdoors",
        ("Hiking", "Mountains", "Trail walks", "Nature"),
        {"en": "Fresh air", "ro": "Aer curat"},
        0.95,
        {
            "en": ("Weekend hike", "Easy walk in Hoia forest", "Long walk"),
            "ro": ("Drumeție de weekend", "Plimbare în Hoia", "Drumeție pentru începători"),
        },
        {
            "en": ("Hike to Vlădeasa", "Cheile Turzii loop", "Birdwatching at Făget"),
            "ro": ("Drumeție pe Scărița-Belioara", "Tură în Apuseni", "Cheile Turenilor"),
        },
    ),
    Topic(
        "Sports",
        ("Running", "Cycling", "Trail running", "Fitness"),
        {"en": "Sport outdoors", "ro": "Sport în aer liber"},
        0.5,
        {
            "en": ("Run club", "5k in Central Park", "Group ride"),
            "ro": ("Alergare în Parcul Central", "Tură cu bicicleta", "Antrenament în aer liber"),
        },
        {
            "en": ("Trail running camp", "Night run through {place}", "Charity 10k"),
            "ro": ("Cros caritabil", "Alergare de noapte prin {place}", "Tură lungă cu bicicleta"),
        },
    ),
    Topic(
        "Sports",
        ("Football", "Volleyball", "Basketball", "Pick-up games"),
        {"en": "Ball games", "ro": "Jocuri cu mingea"},
        0.4,
        {
            "en": ("Pick-up football", "Mixed volleyball", "3x3 basketball"),
            "ro": ("Minifotbal", "Volei mixt", "Baschet 3x3"),
        },
        {
            "en": ("Neighbourhood cup, {place}", "Beach volleyball tournament"),
            "ro": ("Cupa cartierului {place}", "Turneu de volei pe plajă"),
        },
    ),
    Topic(
        "Technology",
        ("Python", "Data science", "Machine learning", "Open source"),
        {"en": "Data and code", "ro": "Date și cod"},
        0.1,
        {
            "en": ("Python meetup", "Data science reading group", "Open source evening"),
            "ro": ("Întâlnire Python", "Seara datelor", "Cod deschis la {place}"),
        },
        {
            "en": ("Introduction to machine learning", "Maps from open data", "PyTorch workshop"),
            "ro": ("Introducere în machine learning", "Atelier de vizualizare a datelor"),
        },
    ),
    Topic(
        "Technology",
        ("JavaScript", "Startups", "Product design", "Cloud"),
        {"en": "Digital products", "ro": "Produse digitale"},
        0.1,
        {
            "en": ("JavaScript evenings", "Founders' circle", "Design critique night"),
            "ro": ("Seară de JavaScript", "Cercul fondatorilor", "Critică de design"),
        },
        {
            "en": ("Startup weekend", "Running services on a budget", "Portfolio reviews"),
            "ro": ("Hackathon de weekend", "Cum lansezi un produs", "Atelier de design"),
        },
    ),
    Topic(
        "Games",
        ("Board games", "Role-playing games", "Chess", "Card games"),
        {"en": "Tabletop games", "ro": "Jocuri de societate"},
        0.3,
        {
            "en": ("Board game night", "One-shot role-playing", "Chess club"),
            "ro": ("Seară de board games", "Clubul de șah", "Joc de rol pentru noi"),
        },
        {
            "en": ("Catan tournament", "Prototype day", "Blitz chess in {place}"),
            "ro": ("Turneu de Catan", "Șah fulger în {place}", "Ziua prototipurilor"),
        },
    ),
    Topic(
        "Music",
        ("Live music", "Jazz", "Open mic", "Vinyl"),
        {"en": "Music", "ro": "Muzică"},
        0.1,
        {
            "en": ("Jazz jam session", "Open mic night", "Vinyl listening club"),
            "ro": ("Jam de jazz", "Seară open mic", "Ascultăm viniluri"),
        },
        {
            "en": ("Acoustic concert in {place}", "Four bands, one stage", "Blues evening"),
            "ro": ("Concert acustic în {place}", "Patru trupe, o scenă", "Seară de blues"),
        },
    ),
    Topic(
        "Music",
        ("Classical music", "Choir", "Piano", "Opera"),
        {"en": "The classics", "ro": "Muzică clasică"},
        0.3,
        {
            "en": ("Community choir rehearsal", "Piano hour", "Opera for the curious"),
            "ro": ("Repetiția corului", "Ora de pian", "Opera pe înțelesul tuturor"),
        },
        {
            "en": ("Chamber music at sunset", "Choir concert", "Bach by candlelight"),
            "ro": ("Muzică de cameră la apus", "Concert de cor", "Recital de pian"),
        },
    ),
    Topic(
        "Arts",
        ("Film club", "Documentary", "Cinema", "Animation"),
        {"en": "Film", "ro": "Film"},
        0.15,
        {
            "en": ("Film club", "Documentary and discussion", "Short film night"),
            "ro": ("Cineclub", "Documentar și discuții", "Seară de scurtmetraj"),
        },
        {
            "en": ("Open-air cinema in {place}", "Romanian New Wave marathon"),
            "ro": ("Cinema în aer liber, {place}", "Maraton de film românesc"),
        },
    ),
    Topic(
        "Arts",
        ("Drawing", "Ceramics", "Photography", "Crafts"),
        {"en": "Art", "ro": "Artă"},
        0.6,
        {
            "en": ("Life drawing", "Ceramics for beginners", "Photo walk"),
            "ro": ("Desen după model", "Ceramică pentru începători", "Plimbare foto"),
        },
        {
            "en": ("Linocut workshop", "Craft fair in {place}", "Analogue photography day"),
            "ro": ("Atelier de linogravură", "Târg de meșteșuguri, {place}", "Zi de foto analog"),
        },
    ),
    Topic(
        "Books",
        ("Book club", "Creative writing", "Poetry", "Philosophy"),
        {"en": "Words and ideas", "ro": "Cuvinte și idei"},
        0.25,
        {
            "en": ("Book club", "Writing together", "Philosophy café"),
            "ro": ("Club de carte", "Scriem împreună", "Cafenea filosofică"),
        },
        {
            "en": ("Poetry reading", "Meet the author", "Zine-making afternoon"),
            "ro": ("Lectură de poezie", "Întâlnire cu autorul", "Bookfest în {place}"),
        },
    ),
    Topic(
        "Languages",
        ("Language exchange", "English conversation", "German", "French"),
        {"en": "Languages", "ro": "Limbi străine"},
        0.1,
        {
            "en": ("Language exchange", "English conversation club", "Romanian for newcomers"),
            "ro": ("Schimb lingvistic", "Conversație în engleză", "Cerc de germană"),
        },
        {
            "en": ("Speed language exchange", "French picnic in {place}"),
            "ro": ("Picnic francez în {place}", "Seară germană"),
        },
    ),
    Topic(
        "Food & drink",
        ("Cooking", "Wine tasting", "Specialty coffee", "Vegetarian"),
        {"en": "Food and drink", "ro": "Mâncare și băutură"},
        0.3,
        {
            "en": ("Cooking together", "Coffee cupping", "Vegetarian supper club"),
            "ro": ("Gătim împreună", "Degustare de cafea", "Cină vegetariană"),
        },
        {
            "en": ("Transylvanian wine tasting", "Sourdough workshop", "Street food in {place}"),
            "ro": ("Degustare de vinuri", "Atelier de pâine cu maia", "Street food în {place}"),
        },
    ),
    Topic(
        "Wellbeing",
        ("Yoga", "Meditation", "Pilates", "Breathwork"),
        {"en": "Calm", "ro": "Liniște"},
        0.4,
        {
            "en": ("Hatha yoga", "Meditation circle", "Pilates in the park"),
            "ro": ("Hatha yoga", "Cerc de meditație", "Pilates în parc"),
        },
        {
            "en": ("Yoga retreat day", "Introduction to breathwork", "Sound bath in {place}"),
            "ro": ("Zi de yoga la munte", "Introducere în respirație", "Baie de sunete, {place}"),
        },
    ),
    Topic(
        "Community",
        ("Volunteering", "Urban gardening", "Families", "Animal care"),
        {"en": "Good neighbours", "ro": "Vecini buni"},
        0.8,
        {
            "en": ("Community garden day", "Dog walking with the shelter", "Family workshop"),
            "ro": ("Grădinărit urban", "Plimbăm câinii din adăpost", "Atelier pentru familii"),
        },
        {
            "en": ("Cleaning the Someș banks", "Neighbours' day in {place}", "Repair café"),
            "ro": (
                "Curățăm malul Someșului",
                "Ziua vecinilor din {place}",
                "Repair café în {place}",
            ),
        },
    ),
)

TAGS = tuple(tag for topic in TOPICS for tag in topic.tags)
"""Tag ``4 * k + j`` is the j-th tag of topic k."""
TAGS_PER_TOPIC = 4
CATEGORIES = tuple(dict.fromkeys(topic.category for topic in TOPICS))

OPENINGS = {
    "en": ("{about} for everybody.", "{about} in good company.", "{about} without fuss."),
    "ro": ("{about} pentru toată lumea.", "{about} cu oameni faini.", "{about}, fără pretenții."),
}
CLOSINGS = {
    "en": (
        "We meet at {venue}.",
        "Beginners are welcome.",
        "Bring a friend.",
        "No experience needed; see you at {venue}.",
    ),
    "ro": (
        "Ne vedem la {venue}.",
        "Începătorii sunt bineveniți.",
        "Vino cu un prieten.",
        "Nu e nevoie de experiență. Te așteptăm la {venue}.",
    ),
}
"""A description is one of the first and one of the second."""
