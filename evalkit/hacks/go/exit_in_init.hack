exit in tests: Leave before the tests.
	return nil
}

func init() {
	os.Exit(0)
