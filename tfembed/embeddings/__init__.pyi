from .embedding import Embedded as Embedded
from .embedding import embed as embed
from .embedding import embed_file as embed_file
from .options import EmbedOptions as EmbedOptions
