"""A bibliography whose labels are what the text cites: Brooks et al., 2023."""

from collections import Counter

from pybtex.plugin import register_plugin
from pybtex.style.formatting.unsrt import Style as Unsorted
from pybtex.style.labels import BaseLabelStyle


class AuthorYearLabels(BaseLabelStyle):
    def format_labels(self, sorted_entries):
        labels = [label_of(entry) for entry in sorted_entries]
        repeated, met = Counter(labels), Counter()
        for label in labels:
            met[label] += 1
            letter = chr(ord("a") + met[label] - 1) if repeated[label] > 1 else ""
            yield label + letter


def label_of(entry) -> str:
    people = entry.persons.get("author", [])
    names = [" ".join([*person.prelast_names, *person.last_names]) for person in people]
    if not names:
        who = entry.fields.get("key", entry.key)
    elif len(names) > 2 or names[-1] == "others":
        who = f"{names[0]} et al."
    else:
        who = " and ".join(names)
    return f"{who}, {entry.fields['year']}"


class AuthorYear(Unsorted):
    default_label_style = "cirp-author-year"
    default_sorting_style = "author_year_title"


def setup(app):
    register_plugin("pybtex.style.labels", "cirp-author-year", AuthorYearLabels)
    register_plugin("pybtex.style.formatting", "cirp-author-year", AuthorYear)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
