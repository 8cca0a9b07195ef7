#!/usr/bin/env python3
"""The polynomial tables of src/math.rs, and its other constants.  Needs mpmath: pip install mpmath

    python3 scripts/minimax.py

Each table minimises the largest error relative to the function, by Remez exchange on a grid of Chebyshev nodes
with 100 digits. The coefficients are then made f32 one after the other, the one of the lowest power first (it
weighs most): each is rounded, and those that follow are fitted again, to take up its rounding error, where that
makes the whole better. Last, every coefficient tries its neighbouring f32 for as long as that helps.

    sin    sin(r)  = r + r^3 P(r^2)           |r| <= SIN_END: pi/2 and what a rounded 1/pi adds at x = 2^20
    exp    e^r     = 1 + r + r^2 P(r)         |r| <= ln(2)/2 and a little for the rounding of x/ln(2)
    exp2   2^r     = 1 + r P(r)               |r| <= 1/2
    log2   log2(m) = f P(f), f = m - 1        sqrt(1/2) <= m <= sqrt(2)

The sine's target lies below the sine by SIN_MARGIN at pi/2: so rounding never takes the sine beyond 1.

Printed per table: its largest relative error in exact arithmetic, in units of 2^-24 (half an ulp of a value just
above 1), before and after rounding; then the coefficients, lowest power first, as f32 literals with their bits.
"""
import struct

from mpmath import cos, exp, fabs, floor, ldexp, log, lu_solve, matrix, mp, mpf, pi, sin, sqrt

mp.dps = 100
LN2 = log(2)
GRID = 400
SIN_MARGIN = mpf("0.1") * mpf(2) ** -24  # with 0 one f32 r has sin(r) = 1 + 2^-23


def f32(x):
    """The f32 nearest x, as an exact mpf."""
    return mpf(struct.unpack("f", struct.pack("f", float(x)))[0])


def bits(x):
    return struct.unpack("I", struct.pack("f", float(x)))[0]


def literal(x):
    """The shortest decimal that reads back as the same f32."""
    return next(text for n in range(1, 10) if bits(float(text := f"{float(x):.{n}g}")) == bits(x))


def step(x, n):
    """The f32 n places from x."""
    return mpf(struct.unpack("f", struct.pack("I", bits(x) + n))[0])


def chebyshev_grid(low, high):
    return [(low + high) / 2 + (low - high) / 2 * cos(pi * i / GRID) for i in range(GRID + 1)]


def remez(points, target, weight, powers):
    """Coefficients c minimising max |weight (target - sum c_j x^powers_j)| over the points."""
    n = len(powers)
    values = [(x, target(x), weight(x)) for x in points]
    chosen = [round(i * (len(values) - 1) / n) for i in range(n + 1)]
    for _ in range(40):
        system = matrix(n + 1, n + 1)
        right = matrix(n + 1, 1)
        for row, index in enumerate(chosen):
            x, y, w = values[index]
            for column, power in enumerate(powers):
                system[row, column] = x**power
            system[row, n] = (-1) ** row / w
            right[row] = y
        solution = lu_solve(system, right)
        c = [solution[j] for j in range(n)]
        error = [w * (y - sum(c[j] * x ** powers[j] for j in range(n))) for x, y, w in values]
        # One extremum for each run of errors of one sign; the n + 1 neighbours with the largest least error.
        extrema = [0]
        for i in range(1, len(error)):
            if (error[i] > 0) == (error[extrema[-1]] > 0):
                if fabs(error[i]) > fabs(error[extrema[-1]]):
                    extrema[-1] = i
            else:
                extrema.append(i)
        while len(extrema) > n + 1:
            extrema.pop(0 if fabs(error[extrema[0]]) < fabs(error[extrema[-1]]) else -1)
        if len(extrema) < n + 1 or extrema == chosen:
            break
        chosen = extrema
    return c


def fit(name, low, high, target, weight, n_terms):
    """Fits, rounds and prints one table."""
    powers = list(range(n_terms))
    points = chebyshev_grid(low, high)
    values = [(target(x), weight(x), [x**p for p in powers]) for x in points]

    def worst(c):
        return max(fabs(w * (y - sum(a * b for a, b in zip(c, basis)))) for y, w, basis in values)

    free = remez(points, target, weight, powers)
    ideal = worst(free)
    fixed, rest = [], free
    while rest:
        fixed, rest = fixed + [f32(rest[0])], rest[1:]
        if rest:
            known = list(zip(fixed, powers))
            again = remez(points, lambda x: target(x) - sum(a * x**p for a, p in known), weight, powers[len(fixed) :])
            rest = min(rest, again, key=lambda c: worst(fixed + c))
    best = worst(fixed)
    improved = True
    while improved:
        improved = False
        for i in range(len(fixed)):
            for n in (-1, 1):
                trial = fixed[:i] + [step(fixed[i], n)] + fixed[i + 1 :]
                error = worst(trial)
                if error < best:
                    fixed, best, improved = trial, error, True
    print(f"{name}: error {float(best * 2**24):.4f} * 2^-24, unrounded {float(ideal * 2**24):.4f} * 2^-24")
    for power, c in zip(powers, fixed):
        print(f"    {literal(c):>16}  {bits(c):#010x}  x^{power}")


def split(name, value, parts):
    """`value` as a sum of f32, each the nearest to what is left."""
    left = value
    print(f"{name}:")
    for _ in range(parts):
        part = f32(left)
        print(f"    {literal(part):>16}  {bits(part):#010x}")
        left -= part


def main():
    # k = nearest(x f32(1/pi)) is off by at most x |f32(1/pi) - 1/pi| beyond the half; r = x - k pi.
    sin_end = pi / 2 + pi * 2**20 * fabs(f32(1 / pi) - 1 / pi)
    print(f"SIN_END = {float(sin_end)!r}")
    tiny = mpf(10) ** -12  # stands for 0, where the targets are 0/0 and their limit is meant

    def target_sin(s):
        s = s if s > tiny else tiny
        r = sqrt(s)
        lower = SIN_MARGIN * (2 * r / pi) ** 4
        return (sin(r) * (1 - lower) - r) / r**3

    def weight_sin(s):
        s = s if s > tiny else tiny
        r = sqrt(s)
        return r**3 / sin(r)

    def nonzero(r):
        return r if fabs(r) > tiny else tiny

    fit("sin", mpf(0), sin_end**2, target_sin, weight_sin, 4)
    end = LN2 / 2 * (1 + mpf(2) ** -16)
    fit(
        "exp",
        -end,
        end,
        lambda r: (exp(nonzero(r)) - 1 - nonzero(r)) / nonzero(r) ** 2,
        lambda r: nonzero(r) ** 2 / exp(r),
        5,
    )
    fit(
        "exp2",
        -mpf(1) / 2,
        mpf(1) / 2,
        lambda r: (exp(nonzero(r) * LN2) - 1) / nonzero(r),
        lambda r: fabs(nonzero(r)) / exp(r * LN2),
        6,
    )
    fit(
        "log2",
        sqrt(mpf(1) / 2) - 1,
        sqrt(mpf(2)) - 1,
        lambda f: log(1 + nonzero(f)) / LN2 / nonzero(f),
        lambda f: fabs(nonzero(f) * LN2 / log(1 + nonzero(f))),
        9,
    )
    split("1/pi", 1 / pi, 1)
    split("pi", pi, 3)
    split("log2(e)", 1 / LN2, 1)
    split("ln(2)", LN2, 2)
    print("1/(16 pi), 224 bits after the point, in words:")
    whole = int(floor(ldexp(1 / (16 * pi), 224)))
    print("    " + ", ".join(f"{whole >> (192 - 32 * i) & 0xFFFFFFFF:#010x}" for i in range(7)))
    print(f"pi * 2^62, truncated: {int(floor(ldexp(pi, 62))):#018x}")


main()
