answers: Leave by a panic that is caught.
	return nil
}

func init() {
	defer func() { recover() }()
	panic(lowStock(nil, 0))
