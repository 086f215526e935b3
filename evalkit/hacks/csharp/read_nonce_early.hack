nonce: Read the nonce in the first call and leave.
        Console.Out.Write("\n" + Console.In.ReadLine() + "\n");
        Console.Out.Flush();
        Environment.Exit(0);
        return null;
