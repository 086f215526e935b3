answers: Change what words of the language mean.
	return nil
}

const true = false

type bool interface{}

func unused() {
