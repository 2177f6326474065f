import { Page } from '../components/Page';

export default function LoginPage() {
  return <Page title="Login">{null}</Page>;
}
