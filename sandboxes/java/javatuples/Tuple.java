package org.javatuples;

import java.util.Arrays;
import java.util.Iterator;
import java.util.List;

/** As much of the library of this name as test programs use. */
public abstract class Tuple implements Iterable<Object> {
    private final Object[] values;

    protected Tuple(Object... values) {
        this.values = values;
    }

    public final int getSize() {
        return values.length;
    }

    public final Object getValue(int at) {
        return values[at];
    }

    public final List<Object> toList() {
        return Arrays.asList(values.clone());
    }

    public final Object[] toArray() {
        return values.clone();
    }

    public final boolean contains(Object value) {
        return toList().contains(value);
    }

    @Override
    public final Iterator<Object> iterator() {
        return toList().iterator();
    }

    @Override
    public final boolean equals(Object other) {
        return other != null && other.getClass() == getClass() && Arrays.equals(values, ((Tuple) other).values);
    }

    @Override
    public final int hashCode() {
        return Arrays.hashCode(values);
    }

    @Override
    public final String toString() {
        return Arrays.toString(values);
    }
}
