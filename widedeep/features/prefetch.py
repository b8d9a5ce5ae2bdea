"""Tell the processor which memory will be needed soon, so that nobody waits for it then."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

LINE = 64
"""Bytes that are fetched at once."""

_READ, _KEEP, _DATA = 0, 3, 1
"""As LLVM numbers them: for reading, to be kept in all caches, data and not instructions."""


@intrinsic
def fetch_line(_: Any, address: Any) -> Any:  # noqa: ANN401  numba's own types
    """Fetch the cache line of an address; compiled code calls it with that alone."""

    def generate(context: Any, builder: Any, _: Any, arguments: Any) -> Any:  # noqa: ANN401
        pointer = builder.inttoptr(arguments[0], ir.PointerType(ir.IntType(8)))
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [pointer.type, number, number, number])
        function = builder.module.declare_intrinsic("llvm.prefetch", [pointer.type], kind)
        hints = [ir.Constant(number, hint) for hint in (_READ, _KEEP, _DATA)]
        builder.call(function, [pointer, *hints])
        return context.get_dummy_value()

    return types.void(address), generate
