"""Pickles as data: their opcodes are walked by a small machine that calls nothing and imports nothing.

Files of weights are pickles inside zip archives, and a pickle is a program: loading one in the ordinary way runs
whatever its author wrote. Here `pickletools` of the standard library splits the bytes into opcodes, and the machine
below builds lists, dictionaries, strings and numbers from them. A class becomes a `Record` (its name and
attributes), a tensor a `TensorRef` (where its numbers lie), a numpy array an `ArrayRef`. The few functions that
weights need are known by name and imitated; any other call ends with a `Refusal` that names it.
"""

from __future__ import annotations

import pickletools
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from backend.files.pickles.inert import ArrayRef, DtypeRef, Global, Record, Refusal, StorageRef, said
from backend.files.pickles.known import CALLS

MAX_BYTES = 64 << 20
MAX_OPERATIONS = 2_000_000
"""The official TorchScript needs about 200,000; a pickle of this many is read in a few seconds."""
_MAX_MEMO = 1 << 31
_MAX_INTEGER = 1 << 63
_SCRIPT = "__torch__"
"""Where TorchScript puts the classes of an archive. They exist only in there."""
_DATA_CLASSES = {"collections.OrderedDict", "collections.defaultdict", "collections.Counter", "builtins.dict"}


def read_pickle(data: bytes, foreign: bool = False) -> Any:
    """What the pickle `data` describes, as inert data.

    `foreign`: instances of classes of third-party packages are taken as records too (plain data files hold some);
    without it only TorchScript's own `__torch__` classes are. Classes of the standard library never are.
    Raises Refusal.
    """
    if len(data) > MAX_BYTES:
        raise Refusal(f"one of its pickles has {len(data) >> 20} MB, more than {MAX_BYTES >> 20}")
    try:
        return Machine(foreign).run(data)
    except (ValueError, TypeError, IndexError, KeyError, OverflowError, AttributeError) as error:
        raise Refusal("one of its pickles is damaged") from error


class Machine:
    """Stack, marks and memo of one pickle. Other kinds of data files change the two constants in a subclass."""

    calls: Mapping[str, Callable[..., Any]] = CALLS
    """The functions that are imitated, by name."""
    max_operations = MAX_OPERATIONS
    """Most steps of one pickle."""

    def __init__(self, foreign: bool) -> None:
        self.foreign = foreign
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self, data: bytes) -> Any:
        for count, (opcode, argument, _) in enumerate(self.operations(data)):
            if count > self.max_operations:
                raise Refusal(f"one of its pickles has more than {self.max_operations} steps")
            name = opcode.name
            if name == "STOP":
                return self.pop()
            if name in _PUSHED:
                self.push(argument)
            elif name in _CONSTANTS:
                self.push(_CONSTANTS[name]())
            else:
                step = _STEPS.get(name)
                if step is None:
                    raise Refusal(f"one of its pickles uses {name}, which weights never need")
                step(self, argument)
        raise Refusal("one of its pickles has no end")

    def operations(self, data: bytes) -> Iterable[tuple[Any, Any, Any]]:
        """Opcode, argument and place of every step."""
        return pickletools.genops(data)

    # Stack and memo.

    def push(self, value: Any) -> None:
        if type(value) is int and not -_MAX_INTEGER <= value < _MAX_INTEGER:
            raise Refusal("one of its pickles holds an integer of more than 64 bits")
        self.stack.append(value)

    def pop(self) -> Any:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise Refusal("one of its pickles is damaged")
        return self.stack.pop()

    def top(self) -> Any:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise Refusal("one of its pickles is damaged")
        return self.stack[-1]

    def since_mark(self) -> list[Any]:
        start = self.marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def mark(self, _: Any) -> None:
        self.marks.append(len(self.stack))

    def pop_or_mark(self, _: Any) -> None:
        # POP on a mark removes the mark.
        if self.marks and len(self.stack) == self.marks[-1]:
            self.marks.pop()
        else:
            self.pop()

    def put(self, index: Any) -> None:
        index = len(self.memo) if index is None else int(index)
        if not 0 <= index < _MAX_MEMO:
            raise Refusal("one of its pickles numbers its memory beyond all bounds")
        self.memo[index] = self.top()

    def get(self, index: Any) -> None:
        self.push(self.memo[int(index)])

    # Containers.

    def build_tuple(self, count: int | None) -> None:
        values = self.since_mark() if count is None else [self.pop() for _ in range(count)][::-1]
        self.push(tuple(values))

    def build_list(self, _: Any) -> None:
        self.push(self.since_mark())

    def build_dict(self, _: Any) -> None:
        values = self.since_mark()
        self.push(self.pairs(values, {}))

    def append(self, _: Any) -> None:
        value = self.pop()
        _elements(self.top()).append(value)

    def extend(self, _: Any) -> None:
        values = self.since_mark()
        _elements(self.top()).extend(values)

    def set_item(self, _: Any) -> None:
        value, key = self.pop(), self.pop()
        self.pairs([key, value], _items(self.top()))

    def set_items(self, _: Any) -> None:
        values = self.since_mark()
        self.pairs(values, _items(self.top()))

    # Classes and calls.

    def global_(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self.push(Global(module, name))

    def stack_global(self, _: Any) -> None:
        name, module = self.pop(), self.pop()
        if not (isinstance(name, str) and isinstance(module, str)):
            raise Refusal("one of its pickles is damaged")
        self.push(Global(module, name))

    def reduce(self, _: Any) -> None:
        arguments, function = self.pop(), self.pop()
        self.push(self._call(function, arguments))

    def new(self, _: Any) -> None:
        arguments, cls = self.pop(), self.pop()
        self.push(self.instance_of(cls, arguments))

    def new_with_names(self, _: Any) -> None:
        self.pop()
        self.new(None)

    def instance(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self.push(self.instance_of(Global(module, name), tuple(self.since_mark())))

    def object(self, _: Any) -> None:
        cls, *arguments = self.since_mark()
        self.push(self.instance_of(cls, tuple(arguments)))

    def build(self, _: Any) -> None:
        state, target = self.pop(), self.top()
        if isinstance(target, (Record, ArrayRef, DtypeRef)):
            target.set_state(state)
        elif not isinstance(target, dict):
            # An ordered dictionary may carry attributes (a state dict does); nothing needs them.
            raise Refusal(f"it sets the state of {_kind(target)}, which could run code; nothing was run")

    def persistent(self, argument: Any) -> None:
        pid = self.pop() if argument is None else argument
        self.push(StorageRef.of(pid))

    def _call(self, function: Any, arguments: Any) -> Any:
        if isinstance(function, Global) and function.module.partition(".")[0] == _SCRIPT:
            # An enumeration of TorchScript; its value is no tuple.
            return Record(function.dotted)
        if not isinstance(function, Global) or not isinstance(arguments, tuple):
            raise Refusal("one of its pickles is damaged")
        if function.dotted in ("copyreg._reconstructor", "copy_reg._reconstructor"):
            cls, _, state = arguments
            found = self.instance_of(cls, ())
            if isinstance(state, dict):
                self.pairs([x for pair in state.items() for x in pair], _items(found))
            elif isinstance(state, list):
                _elements(found).extend(state)
            return found
        known = self.calls.get(function.dotted)
        if known is None:
            raise Refusal(f"it calls {said(function.dotted)}, which could run code; nothing was run")
        return known(*arguments)

    def instance_of(self, cls: Any, arguments: Any) -> Any:
        """What stands for an object of the class `cls`."""
        if not isinstance(cls, Global) or not isinstance(arguments, tuple):
            raise Refusal("one of its pickles is damaged")
        if cls.dotted in _DATA_CLASSES:
            return {}
        room = cls.module.partition(".")[0]
        own = room == _SCRIPT
        if not own and not (self.foreign and room and room not in sys.stdlib_module_names):
            raise Refusal(f"it makes an object of {said(cls.dotted)}, which could run code; nothing was run")
        return Record(cls.dotted)

    def pairs(self, values: list, into: dict) -> dict:
        """Put keys and values, by turns, into a dictionary."""
        if len(values) % 2:
            raise Refusal("one of its pickles is damaged")
        for key, value in zip(values[::2], values[1::2], strict=True):
            if not self.is_key(key):
                raise Refusal("one of its dictionaries has keys that are neither names nor numbers")
            into[key] = value
        return into

    def is_key(self, key: Any) -> bool:
        """Hashing a nest of tuples or a crowd of chosen floats can take for ever."""
        return isinstance(key, (str, int, bytes, type(None)))


def _kind(value: Any) -> str:
    return said(value.dotted) if isinstance(value, Global) else f"a {type(value).__name__}"


def _elements(target: Any) -> list:
    if isinstance(target, Record):
        return target.elements
    if not isinstance(target, list):
        raise Refusal("one of its pickles is damaged")
    return target


def _items(target: Any) -> dict:
    if isinstance(target, Record):
        return target.items
    if not isinstance(target, dict):
        raise Refusal("one of its pickles is damaged")
    return target


_PUSHED = {
    *("INT", "LONG", "LONG1", "LONG4", "BININT", "BININT1", "BININT2", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
"""Opcodes whose argument is the value."""
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_SET": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": dict,
}
"""Opcodes without an argument that make a value. Sets become lists: their members need no hash then."""
_STEPS: dict[str, Callable[[Machine, Any], None]] = {
    "PROTO": lambda machine, _: None,
    "FRAME": lambda machine, _: None,
    "MARK": Machine.mark,
    "POP": Machine.pop_or_mark,
    "POP_MARK": lambda machine, _: machine.since_mark() and None,
    "DUP": lambda machine, _: machine.push(machine.top()),
    "PUT": Machine.put,
    "BINPUT": Machine.put,
    "LONG_BINPUT": Machine.put,
    "MEMOIZE": Machine.put,
    "GET": Machine.get,
    "BINGET": Machine.get,
    "LONG_BINGET": Machine.get,
    "TUPLE": lambda machine, _: machine.build_tuple(None),
    "TUPLE1": lambda machine, _: machine.build_tuple(1),
    "TUPLE2": lambda machine, _: machine.build_tuple(2),
    "TUPLE3": lambda machine, _: machine.build_tuple(3),
    "LIST": Machine.build_list,
    "FROZENSET": Machine.build_list,
    "DICT": Machine.build_dict,
    "APPEND": Machine.append,
    "APPENDS": Machine.extend,
    "ADDITEMS": Machine.extend,
    "SETITEM": Machine.set_item,
    "SETITEMS": Machine.set_items,
    "GLOBAL": Machine.global_,
    "STACK_GLOBAL": Machine.stack_global,
    "REDUCE": Machine.reduce,
    "NEWOBJ": Machine.new,
    "NEWOBJ_EX": Machine.new_with_names,
    "INST": Machine.instance,
    "OBJ": Machine.object,
    "BUILD": Machine.build,
    "PERSID": Machine.persistent,
    "BINPERSID": Machine.persistent,
}
