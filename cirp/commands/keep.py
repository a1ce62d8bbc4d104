"""`cirp keep`: the edit of any editor, and the source's own pixels elsewhere."""

from pathlib import Path

from PIL import Image

from cirp.api import keep
from cirp.data.images import check_destination, open_image, open_mask_for


def keep_file(
    source: Path, edited: Path, out: Path, *, mask: Path | None, whole: bool, region: Path | None
) -> None:
    """Save the result, and say how the output lay on the source and what was put back."""
    check_destination(out, source, edited, mask)
    if region is not None:
        check_destination(region, source, edited, mask, out)
    one = open_image(source)
    where = None if mask is None else open_mask_for(one, mask)
    made = keep(one, open_image(edited), where, whole=whole)
    made.image.save(out)
    if region is not None:
        Image.fromarray(made.region).save(region)
    print(made.registration.said)
    print(f"change outside the region: {made.before:.4f} before, {made.after:.4f} after")
    print(f"{out}: {made.image.width}x{made.image.height}")
