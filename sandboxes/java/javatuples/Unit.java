package org.javatuples;

/** A tuple of 1. */
public final class Unit<A> extends Tuple {
    private final A value0;

    public Unit(A value0) {
        super((Object) value0);
        this.value0 = value0;
    }

    public static <A> Unit<A> with(A value0) {
        return new Unit<>(value0);
    }

    public A getValue0() {
        return value0;
    }
}
