"""A plug-in that is a folder."""

from tests.flowers.orchid.plant import Orchid as Orchid
