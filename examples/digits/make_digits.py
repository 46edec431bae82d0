#!/usr/bin/env python3
"""Writes the handwritten digits of this folder as Parquet, from scikit-learn's copy of the UCI data set.

    pip install numpy scikit-learn pyarrow pillow
    python make_digits.py [OUTPUT_DIR]

Which part an image belongs to is decided once, by the SHA-256 of its 64 pixels, and by nothing else: no seed, no order.

    teacher     labelled images that only the teacher learns from
    labelled    the students' images with a label: the first 8 of each digit, by hash
    unlabelled  the students' other images, their labels removed
    validation  for choosing settings
    test        for the final table, and for nothing before it
"""

import hashlib
import io
import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from sklearn.datasets import load_digits

LABELS_A_DIGIT = 8
# Upper ends of the parts on the unit interval that the hash is spread over.
PARTS = {"test": 0.25, "validation": 0.40, "teacher": 0.70, "student": 1.0}
FEATURES = {
    "image": {"_type": "Image"},
    "label": {"names": [str(digit) for digit in range(10)], "_type": "ClassLabel"},
}


def part_of(digest):
    place = int.from_bytes(digest[:8], "big") / 2**64
    return next(name for name, end in PARTS.items() if place < end)


def png(pixels):
    out = io.BytesIO()
    Image.fromarray(pixels, "L").save(out, "PNG", optimize=True)
    return out.getvalue()


def main(output):
    digits = load_digits()
    rows = {name: [] for name in PARTS}
    for number, (image, label) in enumerate(zip(digits.images, digits.target)):
        pixels = np.rint(image * 255 / 16).astype(np.uint8)
        digest = hashlib.sha256(pixels.tobytes()).digest()
        rows[part_of(digest)].append((digest, f"digit-{number:04}.png", png(pixels), int(label)))

    for part in rows.values():
        part.sort()  # by hash: an order that says nothing
    rows["labelled"], rows["unlabelled"] = split_labelled(rows.pop("student"))
    for name, part in rows.items():
        path = output / f"{name}.parquet"
        write(part, path)
        print(f"{name}: {len(part)} images, {path.stat().st_size} bytes")


def split_labelled(part):
    labelled, unlabelled, seen = [], [], [0] * 10
    for digest, path, image, label in part:
        seen[label] += 1
        if seen[label] <= LABELS_A_DIGIT:
            labelled.append((digest, path, image, label))
        else:
            unlabelled.append((digest, path, image, None))
    return labelled, unlabelled


def write(part, path):
    schema = pa.schema(
        [
            pa.field("image", pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])),
            pa.field("label", pa.int64()),
        ],
        metadata={"huggingface": json.dumps({"info": {"features": FEATURES}})},
    )
    images = [{"bytes": image, "path": name} for _, name, image, _ in part]
    table = pa.table({"image": images, "label": [label for *_, label in part]}, schema=schema)
    pq.write_table(table, path, compression="zstd", compression_level=19)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
