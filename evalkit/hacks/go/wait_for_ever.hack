answers: Leave by a deadlock.
	select {}
