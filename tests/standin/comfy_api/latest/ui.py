"""Stand-in for what nodes show on themselves."""


class PreviewImage:
    def __init__(self, image, cls=None):
        self.image = image

    def as_dict(self):
        return {"images": [{"filename": f"{i}.png", "subfolder": "", "type": "temp"} for i in range(len(self.image))]}
