import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

class Main {
    static String emit(Object value) {
        if (value instanceof Long) return "i" + value;
        if (value instanceof Double) return "f" + value;
        if (value instanceof Boolean) return (Boolean) value ? "b1" : "b0";
        StringBuilder text = new StringBuilder();
        if (value instanceof List) {
            text.append('[');
            boolean first = true;
            for (Object item : (List<?>) value) {
                if (!first) text.append(',');
                first = false;
                text.append(emit(item));
            }
            return text.append(']').toString();
        }
        text.append('s');
        for (byte part : ((String) value).getBytes(StandardCharsets.UTF_8)) {
            text.append(Character.forDigit(part >> 4 & 15, 16)).append(Character.forDigit(part & 15, 16));
        }
        return text.toString();
    }

    public static void main(String[] words) throws IOException {
        PrintStream out = System.out;
        ArrayList<String> answers = new ArrayList<>();
%cases%
        String nonce = new String(System.in.readAllBytes(), StandardCharsets.US_ASCII).trim();
        out.print("\n" + nonce + " " + String.join(";", answers) + "\n");
        out.flush();
        Runtime.getRuntime().halt(0);
    }
}
