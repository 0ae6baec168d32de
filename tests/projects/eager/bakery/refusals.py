class OvenCold(Exception):
    def __init__(self, degrees):
        super().__init__(degrees)
        self.degrees = degrees
