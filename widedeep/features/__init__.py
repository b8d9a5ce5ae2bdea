"""From checked interactions to ids, bags, numbers and crosses that a model can read.

`__init__.pyi` lists what the other wings use; each name is imported when it is first used. (Files
with compiled code import from the files themselves: their digest follows those imports, see
`widedeep.compiled`.)
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
