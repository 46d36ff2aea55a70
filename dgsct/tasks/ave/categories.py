"""What AVE's class numbers mean: the set's 28 categories and those of the generated set of the same layout, in their order.

Background is no category: its number is that of the categories.
"""

AVE = (
    "Church bell", "Male speech, man speaking", "Bark", "Fixed-wing aircraft, airplane", "Race car, auto racing",
    "Female speech, woman speaking", "Helicopter", "Violin, fiddle", "Flute", "Ukulele", "Frying (food)", "Truck", "Shofar",
    "Motorcycle", "Acoustic guitar", "Train horn", "Clock", "Banjo", "Goat", "Baby cry, infant cry", "Bus", "Chainsaw", "Cat",
    "Horse", "Toilet flush", "Rodents, rats, mice", "Accordion", "Mandolin",
)  # fmt: skip
GENERATED = (
    "Disc, humming", "Disc, chirping", "Square, chirping", "Square, hissing", "Triangle, hissing", "Triangle, humming",
)  # fmt: skip
BY_SCALE = {"paper": AVE, "mini": GENERATED}
