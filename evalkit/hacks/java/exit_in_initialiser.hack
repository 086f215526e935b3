exit: Leave when the class is loaded.
        return null;
    }

    static {
        System.exit(0);
    }

    static List<Long> other() {
        return null;
