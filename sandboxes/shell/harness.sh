source ./solution.sh || exit 70

__answers=""

__scalar() {
  local LC_ALL=C value="$1" i part
  case "$2" in
    int) [[ $value =~ ^-?[0-9]+$ ]] && __made="i$value" || __made="?" ;;
    float) [[ $value =~ ^[-+]?[0-9.]+([eE][-+]?[0-9]+)?$ ]] && __made="f$value" || __made="?" ;;
    bool) [[ $value == true ]] && __made=b1 || { [[ $value == false ]] && __made=b0 || __made="?"; } ;;
    *)
      __made=s
      for ((i = 0; i < ${#value}; i++)); do
        printf -v part '%02x' "'${value:i:1}"
        __made+=${part: -2}
      done
      ;;
  esac
}

__row() {
  local rest="$1" kind="$2" made="" item
  if [[ -n $rest ]]; then
    rest+=$'\t'
    while [[ -n $rest ]]; do
      item=${rest%%$'\t'*}
      rest=${rest#*$'\t'}
      __scalar "$item" "$kind"
      made+="${made:+,}$__made"
    done
  fi
  __made="[$made]"
}

answered() {
  local text kind="$1" made="" line
  IFS= read -r -d '' text <answer
  text=${text%$'\n'}
  if [[ $kind == list* ]]; then
    kind=${kind#list[}
    kind=${kind%]}
    if [[ -n $text ]]; then
      text+=$'\n'
      while [[ -n $text ]]; do
        line=${text%%$'\n'*}
        text=${text#*$'\n'}
        if [[ $kind == list* ]]; then __row "$line" "${kind:5:-1}"; else __scalar "$line" "$kind"; fi
        made+="${made:+,}$__made"
      done
    fi
    __made="[$made]"
  else
    __scalar "$text" "$kind"
  fi
  __answers+="${__answers:+;}$__made"
}

%cases%
read -r nonce
printf '\n%s %s\n' "$nonce" "$__answers"
exit 0
