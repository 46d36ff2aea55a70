"""Names of the S4 categories: the 23 of AVSBench-object, and those of the generated set of the same layout."""

AVSBENCH = (
    "ambulance_siren", "baby_laughter", "cap_gun_shooting", "cat_meowing", "chainsawing_trees", "coyote_howling",
    "dog_barking", "driving_buses", "female_singing", "helicopter", "horse_clip-clop", "lawn_mowing", "lions_roaring",
    "male_speech", "mynah_bird_singing", "playing_acoustic_guitar", "playing_glockenspiel", "playing_piano",
    "playing_tabla", "playing_ukulele", "playing_violin", "race_car", "typing_on_computer_keyboard",
)  # fmt: skip
GENERATED = ("disc_humming", "square_chirping", "triangle_hissing", "ring_clicking", "cross_ringing", "bow_whistling")
KNOWN = (*AVSBENCH, *GENERATED)
