"""Weather over a clear view."""

from tests.support.operations import apply_by_seed
from tests.support.pairs import draw_image


def test_stronger_haze_hides_more_and_the_weather_is_named():
    image = draw_image()
    for strength, contrast in ((0.2, 0.9), (1.0, 0.5)):
        result = apply_by_seed("weather", image, narrower={"kind": "haze", "strength": strength})
        assert result.image.std() < contrast * image.std() and result.template_vars == {"weather": "haze"}
