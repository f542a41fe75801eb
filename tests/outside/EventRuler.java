import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import software.amazon.event.ruler.Ruler;

/** Reads events, one a line, and prints for each which of the patterns match, by AWS's Event Ruler: 0 and 1. */
class EventRuler {
    public static void main(String[] patterns) throws Exception {
        var lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String event; (event = lines.readLine()) != null; ) {
            var matches = new StringBuilder();
            for (String pattern : patterns) {
                matches.append(Ruler.matchesRule(event, pattern) ? '1' : '0');
            }
            System.out.println(matches);
        }
    }
}
