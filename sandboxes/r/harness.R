source("solution.R")

emit <- function(value, type) {
  if (startsWith(type, "list[")) {
    if (!is.vector(value) && !is.null(value)) return("?")
    inner <- substr(type, 6, nchar(type) - 1)
    items <- vapply(seq_along(value), function(i) emit(value[[i]], inner), "")
    return(paste0("[", paste(items, collapse = ","), "]"))
  }
  if (length(value) != 1 || is.list(value) || is.na(value)) return("?")
  if (type == "int") {
    return(if (is.numeric(value) && value == trunc(value)) sprintf("i%.0f", value) else "?")
  }
  if (type == "float") return(if (is.numeric(value)) sprintf("f%.17g", value) else "?")
  if (type == "bool") return(if (is.logical(value)) (if (value) "b1" else "b0") else "?")
  if (!is.character(value)) return("?")
  paste0("s", paste(charToRaw(enc2utf8(value)), collapse = ""))
}

answers <- character(0)
%cases%
nonce <- readLines(file("stdin"), n = 1)
cat("\n", nonce, " ", paste(answers, collapse = ";"), "\n", sep = "")
quit(save = "no", status = 0)
