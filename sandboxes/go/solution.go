%solution%

var _, _, _, _, _ = math.Pi, sort.Ints, strconv.Itoa, strings.ToUpper, unicode.IsLetter
