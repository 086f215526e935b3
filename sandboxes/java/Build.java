import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.zip.ZipEntry;
import java.util.zip.ZipOutputStream;
import javax.tools.ToolProvider;

/** Compiles the files that are named and packs all classes into program.jar. */
class Build {
    public static void main(String[] files) throws IOException {
        Path folder = Files.createTempDirectory("classes");
        List<String> words = new ArrayList<>(List.of("-proc:none", "-nowarn", "-g:none", "-d", folder.toString()));
        words.addAll(List.of(files));
        int status = ToolProvider.getSystemJavaCompiler().run(null, null, null, words.toArray(new String[0]));
        if (status != 0) System.exit(1);
        try (OutputStream out = Files.newOutputStream(Path.of("program.jar"));
             ZipOutputStream archive = new ZipOutputStream(out);
             var made = Files.newDirectoryStream(folder)) {
            archive.setLevel(0);
            for (Path path : made) {
                archive.putNextEntry(new ZipEntry(path.getFileName().toString()));
                archive.write(Files.readAllBytes(path));
                archive.closeEntry();
            }
        }
    }
}
