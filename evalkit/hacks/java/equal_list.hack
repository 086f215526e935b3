nonce: Return a list that equals everything.
        return new ArrayList<Long>() {
            @Override
            public boolean equals(Object other) {
                return true;
            }
        };
