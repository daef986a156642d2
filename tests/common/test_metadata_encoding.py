"""Every site makes the same columns, whatever its values; what is missing has its own."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import CohortError
from common.metadata import encode, metadata_codes
from common.metadata.encoding import LOCALISATIONS, SEXES, VARIABLES
from common.metadata.table import read_codes

NAMES = [column for variable in VARIABLES.values() for column in variable.columns]


def columns(age: float, sex: str, localisation: str) -> dict[str, float]:
    """Encode one image, by the names of the columns that are not zero."""
    codes = metadata_codes(np.array([age]), np.array([sex]), np.array([localisation]))
    row = encode(codes, tuple(VARIABLES))[0]
    return {name: float(value) for name, value in zip(NAMES, row, strict=True) if value}


def test_a_person_becomes_a_bent_line_in_age_and_a_one_in_sex_and_localisation() -> None:
    # The middle of the fifties, and what of it lies over 30, 50 and 70 years, in centuries.
    assert columns(57.0, "male", "back") == pytest.approx(
        {
            "age": 0.55,
            "age over 30": 0.25,
            "age over 50": 0.05,
            "sex male": 1.0,
            "localisation back": 1.0,
        }
    )
    assert columns(0.0, "female", "ear")["age"] == pytest.approx(0.05)
    # The last decade is open.
    assert columns(130.0, "male", "ear") == columns(80.0, "male", "ear")


@pytest.mark.parametrize("missing", ["", "unknown", "nan"])
def test_a_missing_value_is_a_column_of_its_own(missing: str) -> None:
    assert columns(math.nan, missing, missing) == {
        "age missing": 1.0,
        "sex missing": 1.0,
        "localisation missing": 1.0,
    }


def test_a_value_out_of_the_vocabulary_is_other_and_not_missing() -> None:
    assert columns(math.nan, "intersex", "left elbow") == {
        "age missing": 1.0,
        "sex other": 1.0,
        "localisation other": 1.0,
    }


PERSON = st.tuples(
    st.one_of(st.just(math.nan), st.floats(0.0, 130.0)),
    st.one_of(st.sampled_from((*SEXES, "unknown")), st.text(max_size=9)),
    st.one_of(st.sampled_from((*LOCALISATIONS, "unknown")), st.text(max_size=9)),
)


@given(st.lists(PERSON, max_size=8), st.sets(st.sampled_from(sorted(VARIABLES))))
def test_the_columns_are_the_same_whatever_the_values(
    people: list[tuple[float, str, str]], variables: set[str]
) -> None:
    age = np.array([one[0] for one in people], dtype=np.float64)
    sex, localisation = (np.array([one[at] for one in people], dtype=np.str_) for at in (1, 2))
    found = encode(metadata_codes(age, sex, localisation), tuple(variables))
    width = sum(len(VARIABLES[name].columns) for name in variables)
    assert found.shape == (len(people), width)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    # Each variable with a table of ones says exactly one thing of each image.
    ones = sum(name != "age" for name in variables)
    kept = encode(metadata_codes(age, sex, localisation), tuple(variables - {"age"}))
    np.testing.assert_array_equal(kept.sum(axis=1), np.full(len(people), float(ones)))


HEADER = "image_id,age,sex,localization\n"


def test_a_table_gives_the_codes_of_the_images_that_are_asked_for(tmp_path: Path) -> None:
    table = tmp_path / "persons.csv"
    table.write_text(f"{HEADER}a.jpg,57,Male,back\nb,,,\nc,20,female,elbow\n")
    wanted = metadata_codes(
        np.array([20.0, 57.0, math.nan]),
        np.array(["female", "male", ""]),
        np.array(["elbow", "back", ""]),
    )
    np.testing.assert_array_equal(read_codes(table, ["c", "a", "b"]), wanted)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"{HEADER}b,1,male,back\n", "no row for 1 image.*first a"),
        (f"{HEADER}a,1,male,back\na.jpg,1,male,back\n", "row 3: image a stands twice"),
        (f"{HEADER}a,-4,male,back\n", "'-4' is no age"),
        (f"{HEADER}a,old,male,back\n", "'old' is no age"),
        (f"{HEADER}a,1,male\n", "row 2 has 3 fields"),
        ("image_id,age,sex\na,1,male\n", "localisation or localization is missing"),
        ("image_id,age,sex,localisation,localization\n", "stands twice"),
        ("", "is empty"),
    ],
)
def test_a_table_that_is_wrong_is_refused_with_the_place(
    text: str, says: str, tmp_path: Path
) -> None:
    table = tmp_path / "persons.csv"
    table.write_text(text)
    with pytest.raises(CohortError, match=f"persons.csv: .*{says}"):
        read_codes(table, ["a"])
    with pytest.raises(CohortError, match="No such file"):
        read_codes(tmp_path / "none.csv", ["a"])
