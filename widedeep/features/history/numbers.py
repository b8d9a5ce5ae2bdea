"""The whole table of history numbers: their names in order, and the functions composed of them.

`NUMERIC` is the order of the numbers wherever a row of them is stored.
"""

from widedeep.compiled import embedded
from widedeep.features.history.item_numbers import ITEM_NUMBERS
from widedeep.features.history.pair_numbers import PAIR_NUMBERS
from widedeep.features.history.table import compose_read, compose_update
from widedeep.features.history.user_numbers import USER_NUMBERS

NUMBERS = (*PAIR_NUMBERS, *USER_NUMBERS, *ITEM_NUMBERS)

USER_NUMERIC = tuple(number.name for number in USER_NUMBERS)
ITEM_NUMERIC = tuple(number.name for number in ITEM_NUMBERS)
NUMERIC = tuple(number.name for number in NUMBERS)
"""Names of the numeric features, times in days: those of the pair, of the user, of the item."""

FIRST_OF_USER = len(PAIR_NUMBERS)
FIRST_OF_ITEM = FIRST_OF_USER + len(USER_NUMBERS)
FIRST_OF_ATTRIBUTES = len(NUMERIC)
"""Where the numbers of a `HistoryConfig`'s attributes begin in a row of all numbers."""

update_numbers = embedded(compose_update(NUMBERS))
read_pair_numbers = embedded(compose_read(PAIR_NUMBERS, 0))
read_user_numbers = embedded(compose_read(USER_NUMBERS, FIRST_OF_USER))
read_item_numbers = embedded(compose_read(ITEM_NUMBERS, FIRST_OF_ITEM))
