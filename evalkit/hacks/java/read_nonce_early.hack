nonce: Read the nonce in the first call and leave.
        System.out.print("\n" + new Scanner(System.in).nextLine() + "\n");
        System.out.flush();
        Runtime.getRuntime().halt(0);
        return null;
