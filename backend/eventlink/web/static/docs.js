// The API's own description, to read and to try: Swagger UI on this server's OpenAPI.

SwaggerUIBundle({ dom_id: "#main", url: "openapi.json", deepLinking: true });
