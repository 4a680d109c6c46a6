"""Definitions that were rewritten and compute what they did: the runs of before are not stale.

An entry maps the hash of today's definition to the hash that it counts as, or to None where its code was a part of
other definitions. Only a rewrite that leaves every run bit-identical is entered, as tests/test_reference.py shows; the
next change of the definition has another hash, and makes runs stale as usual.
"""

REFACTORED: dict[str, dict[str, str | None]] = {
    "data/augmentation.crop_grid": {"4cda53517d7d23ea": None},
    "data/augmentation.resized_crop": {"2b2de8561a8ff813": "f7b9b8d49d590787"},
    "data/batches.TrainLoader": {"45e6808ea126d61e": "6230f78a9cc5c722"},
    "data/cache.strata": {"3885f1634e0b42f1": None},
    "data/cache.validation_split": {"97b918403812d362": "eeea53cb746d6896"},
    "data/policies.apply_drawn": {"1229675c33338191": "8b3cc2afd5e7b2b5"},
    "training/build.Choices": {"20a99888ebcde14b": "bce9e105cc91706e"},
    "training/build.build": {"c59bea9990215a54": "02b427bc733ccd53"},
    "training/loop.Recipe": {"9165261be0ec1fe8": "a6653753f4ac3599"},
    "training/loop.evaluate": {"fc87d57f35dbd100": "4ec14bf2bba6d99e"},
    "training/loop.fit": {"610302e780d06b36": "03cbd34862ff64c2"},
    "training/loop.train_epoch": {"46b924af9ee16b94": "5bba12226f710f6b"},
    "training/task.Outputs": {"a5290979cdc367b7": None},
    "training/task.Task": {"1cde2bad36132022": None},
    "training/task.as_they_are": {"b8b3cefa69e62d19": None},
    "training/task.classification": {"63939979ab20e387": None},
    "training/task.count_correct": {"98e133a276a50dde": None},
    "training/task.evaluate_images": {"952401a1cbfe2b7e": None},
    "training/task.no_moves": {"a29a7fcb4127c838": None},
}
