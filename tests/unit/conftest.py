"""Settings of the property tests."""

from hypothesis import settings

# No deadline: a busy machine is no failure.
settings.register_profile("house", deadline=None)
settings.load_profile("house")
