// Java 11 or later, with jackson-databind.
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.math.BigInteger;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.security.AlgorithmParameters;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.PublicKey;
import java.security.Signature;
import java.security.spec.ECGenParameterSpec;
import java.security.spec.ECParameterSpec;
import java.security.spec.ECPoint;
import java.security.spec.ECPublicKeySpec;
import java.time.Duration;
import java.util.Arrays;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

public final class WxgateVerifier {
    private static final long CACHE_SECONDS = 300; // how long fetched keys are used
    private static final long RETRY_SECONDS = 5; // fetch at most once in this time
    private static final long LEEWAY_SECONDS = 5; // between the gateway's clock and ours

    private static final Pattern COMPACT = Pattern.compile("([\\w-]+\\.[\\w-]+)\\.([\\w-]+)");

    private final ObjectMapper json = new ObjectMapper();
    private final HttpClient http = HttpClient.newBuilder().connectTimeout(Duration.ofSeconds(3)).build();
    private final String jwksUrl;
    private final String issuer;
    private final String audience;
    private final ECParameterSpec p256;

    private Map<String, PublicKey> keys = Map.of();
    private long fetched;
    private long tried = seconds() - RETRY_SECONDS;

    public WxgateVerifier(String jwksUrl, String issuer, String audience) throws GeneralSecurityException {
        this.jwksUrl = jwksUrl;
        this.issuer = issuer;
        this.audience = audience;
        AlgorithmParameters parameters = AlgorithmParameters.getInstance("EC");
        parameters.init(new ECGenParameterSpec("secp256r1"));
        p256 = parameters.getParameterSpec(ECParameterSpec.class);
    }

    /** Returns the claims of Collections.list(request.getHeaders("X-User-Assertion")), or throws. */
    public JsonNode verify(List<String> values) throws GeneralSecurityException, IOException {
        if (values.size() != 1 || values.get(0).length() > 8192) {
            throw new GeneralSecurityException("not exactly one assertion");
        }
        Matcher parts = COMPACT.matcher(values.get(0));
        if (!parts.matches()) {
            throw new GeneralSecurityException("malformed");
        }
        String signed = parts.group(1);
        JsonNode header = json.readTree(decode(signed.substring(0, signed.indexOf('.'))));
        JsonNode claims = json.readTree(decode(signed.substring(signed.indexOf('.') + 1)));
        if (!is(header.get("typ"), "wxgate-assertion+jwt") || !is(header.get("alg"), "ES256")) {
            throw new GeneralSecurityException("wrong type or algorithm");
        }
        if (!isSigned(signed.getBytes(StandardCharsets.US_ASCII), decode(parts.group(2)), header)) {
            throw new GeneralSecurityException("not signed by the gateway");
        }
        if (!is(claims.get("iss"), issuer) || !is(claims.get("aud"), audience)) {
            throw new GeneralSecurityException("wrong issuer or audience");
        }
        long now = System.currentTimeMillis() / 1000;
        if (!claims.path("exp").isIntegralNumber() || claims.get("exp").longValue() <= now - LEEWAY_SECONDS
                || !claims.path("iat").isIntegralNumber() || claims.get("iat").longValue() > now + LEEWAY_SECONDS) {
            throw new GeneralSecurityException("expired or not yet valid");
        }
        if (!claims.path("sub").isTextual() || claims.get("sub").textValue().isEmpty()) {
            throw new GeneralSecurityException("no subject");
        }
        return claims;
    }

    private boolean isSigned(byte[] signed, byte[] signature, JsonNode header) throws GeneralSecurityException {
        PublicKey key = key(header.path("kid").textValue());
        if (key == null || signature.length != 64) {
            return false;
        }
        for (int half = 0; half < 64; half += 32) { // Java 15 to 18 took zeros for a signature (CVE-2022-21449)
            BigInteger number = new BigInteger(1, Arrays.copyOfRange(signature, half, half + 32));
            if (number.signum() == 0 || number.compareTo(p256.getOrder()) >= 0) {
                return false;
            }
        }
        Signature verifier = Signature.getInstance("SHA256withECDSAinP1363Format");
        verifier.initVerify(key);
        verifier.update(signed);
        return verifier.verify(signature);
    }

    private synchronized PublicKey key(String kid) {
        if (kid == null) {
            return null;
        }
        long now = seconds();
        boolean due = !keys.containsKey(kid) || now - fetched >= CACHE_SECONDS;
        if (due && now - tried >= RETRY_SECONDS) {
            tried = now;
            try {
                keys = fetch();
                fetched = now;
            } catch (Exception e) { // the keys at hand go on being used
                System.getLogger("wxgate").log(System.Logger.Level.WARNING, "cannot fetch " + jwksUrl + ": " + e);
            }
        }
        return keys.get(kid);
    }

    private Map<String, PublicKey> fetch() throws Exception {
        HttpRequest request = HttpRequest.newBuilder(URI.create(jwksUrl)).timeout(Duration.ofSeconds(3)).build();
        JsonNode set = json.readTree(http.send(request, BodyHandlers.ofString()).body()).path("keys");
        if (!set.isArray()) {
            throw new IOException("no keys in the answer");
        }
        Map<String, PublicKey> fresh = new HashMap<>();
        for (JsonNode jwk : set) {
            if (is(jwk.get("alg"), "ES256") && is(jwk.get("crv"), "P-256")) {
                BigInteger x = new BigInteger(1, decode(jwk.get("x").textValue()));
                BigInteger y = new BigInteger(1, decode(jwk.get("y").textValue()));
                ECPublicKeySpec spec = new ECPublicKeySpec(new ECPoint(x, y), p256);
                fresh.put(jwk.get("kid").textValue(), KeyFactory.getInstance("EC").generatePublic(spec));
            }
        }
        return fresh;
    }

    private static long seconds() {
        return System.nanoTime() / 1_000_000_000;
    }

    private static byte[] decode(String base64url) throws GeneralSecurityException {
        try {
            return Base64.getUrlDecoder().decode(base64url);
        } catch (IllegalArgumentException e) {
            throw new GeneralSecurityException("malformed", e);
        }
    }

    private static boolean is(JsonNode node, String text) {
        return node != null && text.equals(node.textValue());
    }

    /** To try it: java WxgateVerifier [jwks url] [issuer] [audience], one assertion per line. */
    public static void main(String[] args) throws Exception {
        WxgateVerifier verifier = new WxgateVerifier(args[0], args[1], args[2]);
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line; (line = lines.readLine()) != null; ) {
            try {
                JsonNode claims = verifier.verify(Arrays.asList(line.split("\t", -1)));
                System.out.println("ok " + claims.get("sub").textValue() + " " + claims.path("kind").textValue());
            } catch (GeneralSecurityException | IOException e) {
                System.out.println("refused " + e.getMessage().replaceAll("\\s+", " "));
            }
        }
    }
}
