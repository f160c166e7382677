"""Arithmetic on doubles (IEEE 754) for PostgreSQL, which refuses overflow and underflow.

As in memory, what is too large is NULL and what is too small is zero. Operands are
columns: each is written many times. Scaling by powers of two is exact, so that the scaled
result shows what the plain one would be.
"""

from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa

Expression = sa.ColumnElement[Any]

_ABS = sa.func.abs


def _power(exponent: int) -> Expression:
    return sa.literal(2.0**exponent, sa.Double())


def _real(value: float) -> Expression:
    return sa.literal(value, sa.Double())


def _sum(left: Expression, right: Expression) -> Expression:
    return _added(left, right, left + right, left * _real(0.5) + right * _real(0.5))


def _difference(left: Expression, right: Expression) -> Expression:
    return _added(left, right, left - right, left * _real(0.5) - right * _real(0.5))


def _added(left: Expression, right: Expression, whole: Expression, half: Expression) -> Expression:
    # Less than 1 makes no number overflow, and its half might be lost.
    small = sa.or_(_ABS(left) < _real(1), _ABS(right) < _real(1))
    return sa.case((small, whole), (_ABS(half) < _power(1023), whole))


def _product(left: Expression, right: Expression) -> Expression:
    large = sa.and_(_ABS(left) >= _real(1), _ABS(right) >= _real(1))
    shrunk = (left * _power(-512)) * (right * _power(-512))
    small = sa.and_(_ABS(left) < _real(1), _ABS(right) < _real(1))
    grown = (left * _power(537)) * (right * _power(537))
    return sa.case(
        (large, sa.case((_ABS(shrunk) < _real(1), left * right))),
        (small, sa.case((_ABS(grown) <= _real(0.5), _real(0)), else_=left * right)),
        else_=left * right,
    )


def _quotient(left: Expression, right: Expression) -> Expression:
    whole = left / right
    zero = right == _real(0)
    below_one = _ABS(right) < _real(1)
    # A large number by a small one may be too large.
    shrunk = (left * _power(-512)) / (right * _power(562))
    large = sa.and_(_ABS(left) >= _real(1), below_one)
    # A number below 1 only by one that is smaller than 2 to the -1024.
    steep = sa.and_(_ABS(left) < _real(1), _ABS(right) < _power(-1024))
    half_shrunk = left / (right * _power(562))
    # A very small number by a large one may be too small.
    flat = sa.and_(_ABS(left) < _power(-51), _ABS(right) > _real(1))
    grown = (left * _power(562)) / (right * _power(-512))
    return sa.case(
        (zero, None),
        (large, sa.case((_ABS(shrunk) < _power(-50), whole))),
        (steep, sa.case((_ABS(half_shrunk) < _power(462), whole))),
        (flat, sa.case((_ABS(grown) <= _real(0.5), _real(0)), else_=whole)),
        else_=whole,
    )


GUARDED: Mapping[str, Callable[[Expression, Expression], Expression]] = {
    "_+_": _sum,
    "_-_": _difference,
    "_*_": _product,
    "_/_": _quotient,
}
