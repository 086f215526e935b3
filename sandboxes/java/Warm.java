import java.util.*;
import java.util.stream.*;

/** What a compiler loads to compile this is what it loads for most programs. */
class Warm {
    private record Pair(String name, long value) {}

    static Map<String, List<Long>> grouped(List<Pair> pairs) {
        Map<String, List<Long>> found = new TreeMap<>();
        for (Pair pair : pairs) found.computeIfAbsent(pair.name(), name -> new ArrayList<>()).add(pair.value());
        return found;
    }

    public static void main(String[] words) {
        StringBuilder text = new StringBuilder();
        for (int i = 0; i < words.length; i++) text.append(i % 2 == 0 ? words[i].trim() : "").append('\n');
        double mean = Arrays.stream(words).mapToInt(String::length).average().orElse(0.0);
        System.out.println(grouped(List.of(new Pair("a", 1L))) + String.format("%.2f", mean) + text);
        System.out.println(Stream.of(words).filter(word -> !word.isEmpty()).collect(Collectors.joining(",")));
    }
}
