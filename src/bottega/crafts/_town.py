"""A made-up harbour town in twelve pages and a table, with fifty questions and their answers: what answering is tried on."""

from __future__ import annotations

__all__ = ["PAGES", "QUESTIONS", "TABLE"]

PAGES = {
    "history.md": """# Norhaven

Norhaven was founded in 1287 by the monk Aldous Brand, who built a chapel on the eastern bank of the river Esk. The town grew rich on
salted herring, which its merchants shipped to Lisbon and Ghent. In 1642 a fire destroyed the wooden market hall. The council
rebuilt it in granite, because timber was forbidden inside the walls from then on. The walls themselves were pulled down in 1871 to make
room for the railway.
""",
    "harbour.md": """# The harbour

The harbour of Norhaven has three basins. The oldest, the Herring Basin, was dug by hand between 1590 and 1604. The harbour master is
Ingrid Solheim, who took office in 2016. About 4,200 ships call each year. The deepest basin is 14 metres deep and can
take grain ships from Canada. A foghorn sounds every ninety seconds when visibility falls below one mile.
""",
    "lighthouse.txt": """The lighthouse of Gull Point stands two miles north of Norhaven. It was designed by the engineer Tobias Ferrand and first lit
on 3 November 1854. The tower is 41 metres tall and painted in red and white bands. Its last keeper, Mabel Crane, left in 1988, when the
light was automated. Today the keeper's cottage is a youth hostel with 24 beds.
""",
    "museum.md": """# Museum of the Sea

The Museum of the Sea is in the old customs house on Anchor Street. It opened in 1923. Its most famous piece is the skeleton of a blue
whale that was stranded at Gull Point in 1911. The museum is closed on Mondays. Entry costs 8 crowns; children under twelve pay
nothing. The director, Dr Samuel Okoro, has published a history of the herring trade.
""",
    "ferry.txt": """The ferry Saint Brigid sails between Norhaven and the island of Hask. The crossing takes 55 minutes. She was built in Gdansk in
1997 and carries 300 passengers and 40 cars. Captain Lena Horvat has commanded her since 2012. There are no sailings on Christmas Day. A
single ticket costs 12 crowns.
""",
    "hask.md": """# Hask

Hask is an island of 18 square kilometres. It has one village, Petersund, where the ferry lands. The islanders keep about 900 sheep
of an old grey breed. Their wool is knitted into the thick jumpers that fishermen wear. The highest point of Hask is Beacon Hill, 212 metres above
the sea. The island's school has seven pupils. Electricity reached Hask in 1961 by a cable from the mainland.
""",
    "bridge.txt": """The Queen Maud Bridge crosses the Esk near the railway station. The architect Elena Vasquez won the competition for it in 1929.
It was opened by Princess Astrid on 14 June 1933. The bridge is 386 metres long. Its cables were made in Sheffield. Since 2005 lorries of more than
20 tonnes may not cross it because the eastern pier has cracked.
""",
    "festival.md": """# The Lantern Festival

The Lantern Festival takes place every year on the last Saturday of August. It remembers the fishermen who were lost in the storm of 1789.
Children carry paper lanterns from the chapel to the harbour. In 2019 some 15,000 visitors came. The festival was cancelled in 2020 because of the
pandemic. The first festival was organised by the schoolteacher Ruth Amdahl in 1926.
""",
    "university.txt": """The Maritime Academy of Norhaven trains navigators and marine biologists. It was founded in 1902 by the shipowner Henrik Dahl. The academy has
1,150 students and a research ship called Kittiwake. Its library holds 86,000 volumes. Professor Amara Nwosu, who leads the department of marine
biology, discovered a new species of sea slug near Hask in 2014. The motto of the academy is "By stars and soundings".
""",
    "football.txt": """Norhaven Rovers is the town's football club. It plays at Saltmarsh Park, which holds 9,400 spectators. The club was formed in 1908 by dock
workers. Its colours are blue and yellow. The Rovers won the national cup in 1956, when they beat Kingsmouth United by three goals to one. Their manager
is Paolo Ricci. The record scorer of the club is Edwin Moss with 214 goals.
""",
    "food.md": """# What people eat

The local dish is esk pie, made of herring, potatoes and dill. It is eaten on the eve of the Lantern Festival. The bakery of the Lindgren family on
Chapel Lane has baked rye bread since 1834. A brewery called Three Gulls makes a dark beer from smoked malt. In autumn, people gather
sea buckthorn on the dunes for jam.
""",
    "nature.txt": """South of the town lie the Ravel dunes, a nature reserve of 640 hectares. Some 2,300 pairs of terns breed there. Dogs are banned from April to
July so that the birds are not disturbed. The reserve is run by the Norland Trust. Grey seals rest on the sandbank called the Long Back.
""",
}
TABLE = """district,inhabitants,area_km2,schools
Old Town,6420,1.8,2
Harbourside,9815,3.1,3
Eastbank,14230,6.4,5
Saltmarsh,7765,9.7,2
Northfield,11890,8.2,4
Gull Point,1240,5.5,1
"""
QUESTIONS = [
    ("When was Norhaven founded?", "1287"),
    ("Who founded Norhaven?", "Aldous Brand"),
    ("What destroyed the market hall?", "fire"),
    ("Why did the council rebuild the market hall in granite?", "timber was forbidden inside the walls from then on"),
    ("When were the walls pulled down?", "1871"),
    ("How many basins does the harbour have?", "three"),
    ("Who is the harbour master?", "Ingrid Solheim"),
    ("How many ships call each year?", "4,200"),
    ("How deep is the deepest basin?", "14 metres"),
    ("Who designed the lighthouse?", "Tobias Ferrand"),
    ("When was the lighthouse first lit?", "3 November 1854"),
    ("How tall is the lighthouse tower?", "41 metres"),
    ("Who was the last keeper of the lighthouse?", "Mabel Crane"),
    ("How many beds does the youth hostel have?", "24"),
    ("Where is the Museum of the Sea?", "in the old customs house on Anchor Street"),
    ("When did the museum open?", "1923"),
    ("On which day is the museum closed?", "Mondays"),
    ("How much does entry to the museum cost?", "8 crowns"),
    ("Who is the director of the museum?", "Dr Samuel Okoro"),
    ("How long does the crossing to Hask take?", "55 minutes"),
    ("Where was the Saint Brigid built?", "Gdansk"),
    ("How many passengers does the ferry carry?", "300"),
    ("Who commands the Saint Brigid?", "Captain Lena Horvat"),
    ("How much does a single ticket cost?", "12 crowns"),
    ("How many sheep do the islanders keep?", "900"),
    ("What is the highest point of Hask?", "Beacon Hill"),
    ("When did electricity reach Hask?", "1961"),
    ("How long is the Queen Maud Bridge?", "386 metres"),
    ("Who opened the Queen Maud Bridge?", "Princess Astrid"),
    ("Where were the cables of the bridge made?", "Sheffield"),
    ("How many visitors came to the festival in 2019?", "15,000"),
    ("Why was the festival cancelled in 2020?", "the pandemic"),
    ("Who organised the first Lantern Festival?", "Ruth Amdahl"),
    ("What is the research ship of the academy called?", "Kittiwake"),
    ("How many volumes does the library of the academy hold?", "86,000"),
    ("Who leads the department of marine biology?", "Professor Amara Nwosu"),
    ("Where does the football club play?", "Saltmarsh Park"),
    ("What are the colours of the club?", "blue and yellow"),
    ("Who is the record scorer of the club?", "Edwin Moss"),
    ("How many people live in Eastbank?", "14,230"),
    ("How many inhabitants does Northfield have?", "11,890"),
    ("Which district has the most inhabitants?", "Eastbank"),
    ("Which district is the smallest by area?", "Old Town"),
    ("How many schools are there in total?", "17"),
    ("What is the area of Saltmarsh?", "9.7 km²"),
    ("Who is the mayor of Norhaven?", None),
    ("When was the airport opened?", None),
    ("How many inhabitants does Kingsmouth have?", None),
    ("Who wrote the national anthem?", None),
    ("What does a ticket to the aquarium cost?", None),
]
"""Each with its answer, or None where neither the pages nor the table has one."""
