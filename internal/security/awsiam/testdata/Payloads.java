import java.nio.charset.StandardCharsets;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.AwsCredentials;
import software.amazon.awssdk.auth.credentials.AwsSessionCredentials;
import software.amazon.msk.auth.iam.internals.AWS4SignedPayloadGenerator;
import software.amazon.msk.auth.iam.internals.AuthenticationRequestParams;

/**
 * Prints the payloads of Amazon's own client for Java, which payloads.jsonl holds:
 *
 *   mvn dependency:get -Dartifact=software.amazon.msk:aws-msk-iam-auth:2.3.6:jar:all -Dtransitive=false
 *   mvn dependency:get -Dartifact=org.slf4j:slf4j-api:1.7.36
 *   java -cp aws-msk-iam-auth-2.3.6-all.jar:slf4j-api-1.7.36.jar Payloads.java > payloads.jsonl
 *
 * The keys are the examples of AWS's documentation.
 */
public class Payloads {
    public static void main(String[] args) throws Exception {
        String[] hosts = {
            "b-1.orders.4qxy2m.c2.kafka.eu-central-1.amazonaws.com",
            "boot-1a2b3c.c1.kafka-serverless.us-east-1.amazonaws.com",
            "b-2.orders.4qxy2m.c3.kafka.cn-north-1.amazonaws.com.cn",
        };
        AwsCredentials[] credentials = {
            AwsBasicCredentials.create("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
            AwsSessionCredentials.create("ASIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI+K7MDENG/bPxRfiCYEXAMPLEKEY",
                "IQoJb3JpZ2luX2VjEPT//////////wEaCmV1LWNlbnRyYWwtMSJIMEYCIQDx+z/Example+Token=="),
        };
        // The first payload takes long, and would be valid for a second less than the others.
        payload(hosts[0], credentials[0]);
        for (String host : hosts) {
            for (AwsCredentials c : credentials) {
                System.out.println(payload(host, c));
            }
        }
    }

    private static String payload(String host, AwsCredentials c) throws Exception {
        AuthenticationRequestParams params = AuthenticationRequestParams.create(host, c, "kafka-upstream");
        return new String(new AWS4SignedPayloadGenerator().signedPayload(params), StandardCharsets.UTF_8);
    }
}
