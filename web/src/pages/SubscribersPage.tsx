import { Page } from '../components/Page';

export default function SubscribersPage() {
  return <Page title="Subscribers">{null}</Page>;
}
